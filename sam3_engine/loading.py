"""Loads a model's weights: from a checkpoint of any format, over the base that it lacks something of."""

import logging

import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine.bundled import BUNDLED_TINY
from sam3_engine.checkpoint_files.checkpoint import Checkpoint, open_checkpoint
from sam3_engine.checkpoint_files.fitting import Weights, fit
from sam3_engine.checkpoint_files.names import official_name
from sam3_engine.checkpoint_files.shapes import model_shapes
from sam3_engine.hub import resolve_checkpoint
from sam3_engine.spec import TINY, ModelSpec
from sam3_engine.weights import COMPUTED

logger = logging.getLogger(__name__)


def read_weights(spec: ModelSpec, checkpoint: str | None = None, base: str | None = None) -> Weights:
    """All weights of a model by official name, checked against its shapes; each is read only when it is asked for.

    checkpoint: where it is, see `hub.resolve_checkpoint`. None means the bundled file for `tiny` and `facebook/sam3`
    for `sam3`. base: the weights that a fine-tune or an adapter is laid over; None means the same as for `checkpoint`.
    It is opened, and fetched, only where the checkpoint lacks something. Raises CheckpointError (see
    `sam3_engine.errors`).
    """

    def default() -> Checkpoint:
        return _open(spec, base)

    opened = _open(spec, checkpoint)
    below = None if checkpoint is None else default
    weights = fit(opened, model_shapes(spec), below, whole_parts=base is None)
    logger.info("%s (%s): %s", opened.path, opened.format, weights)
    return weights


def load_weights(
    model: Sam3Image, spec: ModelSpec, checkpoint: str | None = None, base: str | None = None
) -> None:
    """Fill a model in place, in the model's own dtype. checkpoint, base: as of `read_weights`.

    Raises CheckpointError and then leaves the model unchanged.
    """
    weights = read_weights(spec, checkpoint, base)
    state = model.state_dict()
    with torch.no_grad():
        for key, value in state.items():
            if not key.endswith(COMPUTED):
                value.copy_(weights.tensors[official_name(key)].read())


def _open(spec: ModelSpec, checkpoint: str | None) -> Checkpoint:
    if checkpoint is None and spec is TINY:
        return open_checkpoint(BUNDLED_TINY)
    return open_checkpoint(resolve_checkpoint(checkpoint))
