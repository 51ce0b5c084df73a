"""The engine in this process, for commands and hooks that need no server."""

from typing import TYPE_CHECKING

from serve_app.settings import Settings

if TYPE_CHECKING:
    from sam3_engine.engine import Engine


def local_engine(settings: Settings, *, video: bool = False) -> "Engine":
    """The model of the settings. video: with what only videos need. Raises the engine's errors."""
    from sam3_engine.engine import Engine

    return Engine.load(
        settings.model,
        checkpoint=settings.checkpoint,
        base=settings.base_checkpoint,
        device=settings.device,
        dtype=settings.dtype,
        video=video,
    )
