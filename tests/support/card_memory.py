"""A check that encoders and decoders fit the smallest GPU that settings are written for."""

from deployments.model.memory import plan_memory
from deployments.resources import NotEnough, Plan
from serve_app.settings import Settings

SMALLEST_CARD = 23_800_000_000
"""Bytes that a GPU sold as 24 GB shows to a program (an A10G)."""


def check_memory(settings: Settings, parts: Plan, card: int = SMALLEST_CARD) -> None:
    """Raises NotEnough where encoders or decoders do not fit their share of a GPU of `card` bytes."""
    hot = None if settings.hot_bytes == "auto" else int(settings.hot_bytes)
    exact = settings.dtype == "float32"
    if share := parts.encoder.num_gpus:
        batch = settings.encoder_batch_size
        found = plan_memory(
            "encoder", settings.model, card, share, batch=batch, exact=exact, graphs=settings.cuda_graphs
        )
        if found.batch < batch:
            raise NotEnough(f"{share:g} of a GPU takes {found.batch} images at once, fewer than {batch}")
    if share := parts.decoder.num_gpus:
        plan_memory("decoder", settings.model, card, share, hot=hot, exact=exact)
