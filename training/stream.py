"""The endless stream of training batches, drawn by worker processes ahead of the step that uses them."""

import multiprocessing
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sam3_engine.spec import ModelSpec
from training.batches import Batch, StepSize, draw_batch
from training.labelled import Labelled
from training.scenes import draw_scene
from training.varied import draw_crowded, draw_varied

PLAIN = 5
"""One scene in so many is a plain one."""
CROWDED, CROWDED_LESSONS = 4, 2
"""One of so many other scenes is a crowded one: while everything learns, and in the lessons of the trunk alone."""


def training_scene(seed: int, crowded: int = CROWDED) -> Labelled:
    """The training scene of a seed, 1 or more. Seeds from 10,000,000 on are for figures. One in `crowded` of the varied
    scenes is a crowded one.
    """
    if seed % PLAIN == 0:
        return draw_scene(seed)
    return draw_crowded(seed) if seed % crowded == 1 else draw_varied(seed)


@dataclass(frozen=True, slots=True)
class Source(IterableDataset[Batch]):
    """The batches of one training process from a step on. rank, processes: which of how many processes. crowded: see
    `training_scene`.

    A batch depends on its number and `rank` only, not on the number of workers.
    """

    spec: ModelSpec
    size: StepSize
    first: int
    rank: int = 0
    processes: int = 1
    crowded: int = CROWDED

    def __iter__(self) -> Iterator[Batch]:
        worker: Any = get_worker_info()
        step, stride = self.first, 1
        if worker is not None:
            cv2.setNumThreads(1)
            os.nice(5)  # the process that trains must not wait for a core
            step, stride = self.first + worker.id, worker.num_workers
        while True:
            yield self.batch(step)
            step += stride

    def batch(self, step: int) -> Batch:
        number = step * self.processes + self.rank
        seed = 1 + number * self.size.scenes
        scenes = [training_scene(one, self.crowded) for one in range(seed, seed + self.size.scenes)]
        return draw_batch(self.spec, scenes, self.size, random.Random(number))


def batches(source: Source, workers: int) -> Iterator[Batch]:
    """The source's batches in order; `workers` processes draw them, or with 0 the caller's own.

    The workers are forks of a server that imports the same modules and then does nothing: a fork of this process could
    hang in a lock that one of its threads held, OpenCV's among them.
    """
    if workers == 0:
        return iter(source)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return iter(
        DataLoader(
            source, batch_size=None, num_workers=workers, prefetch_factor=3, multiprocessing_context=context
        )
    )
