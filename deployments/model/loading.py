"""Loading the model inside a replica. torch is imported here, when called, and in no module that an ingress
imports."""

import logging
import time
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import psutil

from deployments.config import EngineConfig
from deployments.observe.metrics import NAMES, Metrics

if TYPE_CHECKING:
    from sam3_engine.engine import Engine

logger = logging.getLogger("ray.serve")
"""Serve's own, which writes into the replica's log."""
STARTED = "model ready: process %.2f s, imports %.2f s, weights %.2f s, warm-up %.2f s"
"""Log line about a start: from the process's first moment on, each step's seconds."""


def load_engine(
    config: EngineConfig, metrics: Metrics, thread: Executor, images: int = 1, prompts: int = 1
) -> "Engine":
    """The model, loaded and warmed up in the thread that it will run in (some of what the first call prepares is
    kept per thread). images, prompts: the largest batches it will get.

    Raises sam3_engine.errors.CheckpointError.
    """
    began, process_s = time.monotonic(), time.time() - psutil.Process().create_time()
    import torch

    from sam3_engine.engine import Engine
    from sam3_engine.spec import SPECS

    started = time.monotonic()
    if config.model.endswith("-random"):
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        engine = Engine.random(
            SPECS[config.model.removesuffix("-random")], device=config.device, dtype=config.dtype
        )
    else:
        engine = Engine.load(
            config.model,
            checkpoint=config.checkpoint,
            base=config.base,
            device=config.device,
            dtype=config.dtype,
            compile=config.compile,
            threads=config.threads,
        )
    loaded = time.monotonic()
    thread.submit(engine.warm_up, images, prompts).result()
    ready = time.monotonic()
    metrics.set(NAMES.model_load_seconds, ready - started)
    logger.info(STARTED, process_s, started - began, loaded - started, ready - loaded)
    return engine


def hot_budget(device: str, share: float) -> int:
    """Bytes of features that a decoder may keep: half of its share of the GPU's memory, 1 GiB on a CPU."""
    import torch

    if torch.device(device).type != "cuda":
        return 2**30
    return int(torch.cuda.get_device_properties(device).total_memory * share / 2)
