"""Finds the best number of torch threads for one process: `python -m bench.threads tiny` prints 1 or the cores.

More threads than free cores make a small model slower, and far slower on a busy machine. Baselines get the best number.
"""

import sys
import time

import numpy as np
import psutil
import torch

from sam3_engine.engine import ConceptItem, Engine
from sam3_engine.types import ConceptPrompt, ImageSize

TIMES = 8


def best_threads(engine: Engine) -> int:
    """The faster of 1 and all cores, by the median of an encode and a prompt. Sets torch's threads."""
    cores = psutil.cpu_count() or 1
    taken = {count: _seconds(engine, count) for count in (1, cores)}
    return min(taken, key=lambda count: taken[count])


def _seconds(engine: Engine, threads: int) -> float:
    torch.set_num_threads(threads)
    side = engine.spec.image_size
    square = np.zeros((side, side, 3), np.uint8)
    seconds = []
    for _ in range(TIMES):
        started = time.perf_counter()
        features = engine.expand(engine.encode([square])[0])
        engine.segment_concepts([ConceptItem(features, ImageSize(side, side), [ConceptPrompt("circle")])])
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


if __name__ == "__main__":
    print(best_threads(Engine.load(sys.argv[1])))
