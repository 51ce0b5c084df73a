"""Loading the model inside a replica. torch is imported here, when called, and in no module that an ingress
imports."""

import logging
import os
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from deployments.config import EngineConfig
from deployments.model.memory import (
    CONTEXT,
    HOT_ON_A_CPU,
    TRACKS_ON_A_CPU,
    MemoryPlan,
    Role,
    plan_memory,
)
from deployments.observe.metrics import NAMES, Metrics

if TYPE_CHECKING:
    from sam3_engine.engine import Engine

logger = logging.getLogger("ray.serve")
"""Serve's own, which writes into the replica's log."""
ALLOCATOR = "expandable_segments:True"
"""Torch's setting for CUDA memory: batches of many sizes leave no gaps that nothing fits into."""
STARTED = "model ready: process %.2f s, imports %.2f s, weights %.2f s, warm-up %.2f s"
"""Log line about a start: from the process's first moment on, each step's seconds."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A replica's model, warmed up. batch: most images in one call. hot: bytes of features that it may keep. tracks:
    bytes of videos' states that it may keep."""

    engine: "Engine"
    batch: int
    hot: int
    tracks: int = 0


def load_engine(
    config: EngineConfig,
    role: Role,
    metrics: Metrics,
    thread: Executor,
    *,
    batch: int,
    hot: int | None = None,
) -> Loaded:
    """The part of the model that the role needs, loaded, and warmed up in the thread that it will run in (some of what
    the first call prepares is kept per thread). On a GPU the process gets no more than its share of the memory.

    batch: the largest batch that it should get, of images or prompts. hot: see `memory.plan_memory`.

    Raises sam3_engine.errors.CheckpointError, and NotEnough for a share of the GPU that is too small.
    """
    began, process_s = time.monotonic(), time.time() - psutil.Process().create_time()
    os.environ.setdefault("PYTORCH_ALLOC_CONF", ALLOCATOR)
    import torch

    from sam3_engine.engine import Engine
    from sam3_engine.spec import SPECS

    started = time.monotonic()
    plan = _limit_memory(config, role, batch, hot)
    if config.model.endswith("-random"):
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        spec = SPECS[config.model.removesuffix("-random")]
        engine = Engine.random(spec, role=role, device=config.device, dtype=config.dtype, video=config.video)
    else:
        engine = Engine.load(
            config.model,
            role=role,
            checkpoint=config.checkpoint,
            base=config.base,
            device=config.device,
            dtype=config.dtype,
            compile=config.compile,
            compile_cache=config.compile_cache,
            threads=config.threads,
            video=config.video,
        )
    check_encoder(config, engine)
    if config.float8:
        engine.use_float8()
    engine.use_graphs(config.cuda_graphs)
    engine.on_out_of_memory = lambda: metrics.add(NAMES.out_of_memory, part=role)
    if plan is not None and role == "encoder":
        batch = plan.batch
    elif plan is not None:
        engine.prompts_at_once = plan.batch
    loaded = time.monotonic()
    # On a CPU all sizes of batches are alike, and an encoder's canary encodes its first image: minutes at full size.
    images = batch if engine.device.type == "cuda" else 0
    thread.submit(engine.warm_up, images, batch).result()
    ready = time.monotonic()
    metrics.set(NAMES.model_load_seconds, ready - started)
    metrics.set(NAMES.cuda_graphs, sum(map(len, engine.graphs)), part=role, state="made")
    metrics.set(NAMES.cuda_graphs, sum(one.failed for one in engine.graphs), part=role, state="failed")
    logger.info(STARTED, process_s, started - began, loaded - started, ready - loaded)
    if plan is not None:
        return Loaded(engine, batch, plan.hot, plan.tracks)
    return Loaded(engine, batch, HOT_ON_A_CPU if hot is None else hot, TRACKS_ON_A_CPU if config.video else 0)


def check_encoder(config: EngineConfig, engine: "Engine") -> None:
    """Raises sam3_engine.errors.WrongCheckpoint where the model's weights that encode are not those that the
    configuration says."""
    from sam3_engine.errors import WrongCheckpoint
    from sam3_engine.loading import read_checkpoint
    from sam3_engine.weights import encoder_digest

    own = engine.weights.encoder
    if config.encoder not in (None, own):
        raise WrongCheckpoint(
            f"the image encoder of {config.checkpoint} is {own} here, and was {config.encoder} where the server was "
            "deployed: is it the same file on every node?"
        )
    if config.encodes_like is not None:
        checkpoint, base = config.encodes_like
        if encoder_digest(read_checkpoint(engine.spec, checkpoint, base)) != own:
            raise WrongCheckpoint(
                f"SAM3_MODELS says that {config.checkpoint} has the image encoder of "
                f"{checkpoint or 'the default weights'}, and it has another: leave out its `trunk`"
            )


def _limit_memory(config: EngineConfig, role: Role, batch: int, hot: int | None) -> MemoryPlan | None:
    """The plan for this process's share of the GPU, from now on enforced; None on a CPU."""
    import torch

    if torch.device(config.device).type != "cuda":
        return None
    card = torch.cuda.get_device_properties(config.device).total_memory
    share = config.gpu_share or 1.0
    exact = config.dtype == "float32"
    plan = plan_memory(
        role,
        config.model,
        card,
        share,
        batch=batch,
        hot=hot,
        exact=exact,
        video=config.video,
        graphs=config.cuda_graphs,
    )
    most = min(1.0, (min(share, 1.0) * card - CONTEXT) / card)
    torch.cuda.set_per_process_memory_fraction(most, torch.device(config.device))
    return plan
