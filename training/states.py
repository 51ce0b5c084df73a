"""Builds a usable model from a training state."""

from pathlib import Path

import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine.assembly import build_model
from sam3_engine.spec import TINY
from training.tokens import CompactEmbedding, known_token_ids

TOKEN_TABLE = "backbone.language_backbone.encoder.token_embedding.weight"


def averaged_model(state_path: Path) -> Sam3Image:
    """The model with the moving average of a training state's weights and a whole token table.

    Raises ValueError when the state is of another model.
    """
    model = build_model(TINY, video=True)
    ids = known_token_ids(model)
    compact = CompactEmbedding(ids, model.backbone.language_backbone.encoder.vocab_size, TINY.text_dim)
    average = torch.load(state_path, weights_only=True)["average"]
    weights = {
        name.removeprefix("model."): value for name, value in average.items() if name.startswith("model.")
    }
    compact.load_state_dict({"weight": weights[TOKEN_TABLE]})
    weights[TOKEN_TABLE] = compact.table()
    incompatible = model.load_state_dict(weights, strict=False)
    if incompatible.unexpected_keys:
        raise ValueError(f"not a state of this model: {incompatible.unexpected_keys[:3]}")
    return model
