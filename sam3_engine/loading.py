"""Loads a model's weights: the bundled ones, a file, or the Hub's."""

from sam3.model.sam3_image import Sam3Image

from sam3_engine.bundled import load_bundled
from sam3_engine.hub import resolve_checkpoint
from sam3_engine.spec import TINY, ModelSpec
from sam3_engine.weights import apply, load_state


def load_weights(model: Sam3Image, spec: ModelSpec, checkpoint: str | None) -> None:
    """Fill a model in place. Raises CheckpointError (see `sam3_engine.errors`) and then leaves the model unchanged.

    checkpoint: a file or a directory with `sam3.pt` in it. None means the bundled file for `tiny` and the Hub for
    `sam3`.
    """
    if spec is TINY and checkpoint is None:
        apply(model, load_bundled())
    else:
        apply(model, load_state(resolve_checkpoint(checkpoint)))
