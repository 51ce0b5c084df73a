"""Weights of the tiny model under official names, and files of every format that are made from them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sam3_engine.bundled import BUNDLED_TINY
from sam3_engine.checkpoint_files.checkpoint import Checkpoint, open_checkpoint
from sam3_engine.checkpoint_files.fitting import Shapes
from sam3_engine.checkpoint_files.shapes import model_shapes
from sam3_engine.spec import TINY
from tests.unit.sam3_engine.checkpoint_files.states import State


@pytest.fixture(scope="session")
def shapes() -> Shapes:
    return model_shapes(TINY)


@pytest.fixture(scope="session")
def bundled() -> Checkpoint:
    return open_checkpoint(BUNDLED_TINY)


@pytest.fixture(scope="session")
def official(bundled: Checkpoint, shapes: Shapes) -> State:
    """The bundled weights under the names of `sam3.pt`, those for video included."""
    generator = torch.Generator().manual_seed(3)
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return state | {name: tensor.read() for name, tensor in bundled.tensors.items()}


@pytest.fixture
def base(official: State, tmp_path: Path) -> Checkpoint:
    """Another checkpoint of the whole model: each value is one more."""
    torch.save({"model": {name: value + 1 for name, value in official.items()}}, tmp_path / "base.pt")
    return open_checkpoint(tmp_path / "base.pt")


def configuration() -> Any:
    from transformers import Sam3VideoConfig

    def layers(count: int | None = None) -> dict[str, Any]:
        sizes = {
            "hidden_size": TINY.d_model,
            "num_attention_heads": TINY.heads,
            "intermediate_size": TINY.ffn_dim,
            "dropout": 0.0,
        }
        return sizes if count is None else sizes | {"num_layers": count}

    grids = [[TINY.grid * scale] * 2 for scale in (4, 2, 1)]
    vision = {
        "backbone_config": {
            "hidden_size": TINY.vit_dim,
            "intermediate_size": int(TINY.vit_dim * TINY.vit_mlp_ratio),
            "num_hidden_layers": TINY.vit_depth,
            "num_attention_heads": TINY.vit_heads,
            "image_size": TINY.image_size,
            "pretrain_image_size": TINY.pretrain_image_size,
            "patch_size": TINY.patch_size,
            "window_size": TINY.vit_window,
            "global_attn_indexes": list(TINY.vit_global_blocks),
            "layer_norm_eps": 1e-5,  # as in the sam3 package; transformers' default is 1e-6
        },
        "fpn_hidden_size": TINY.d_model,
        "backbone_feature_sizes": grids,
    }
    mask_decoder = layers() | {"num_upsampling_stages": 3}
    del mask_decoder["intermediate_size"]
    detector = {
        "vision_config": vision,
        "text_config": {
            "vocab_size": 49408,
            "hidden_size": TINY.text_dim,
            "intermediate_size": 4 * TINY.text_dim,
            "projection_dim": 512,
            "num_hidden_layers": TINY.text_layers,
            "num_attention_heads": TINY.text_heads,
            "max_position_embeddings": 32,
            "hidden_act": "gelu",
        },
        "geometry_encoder_config": layers(TINY.geometry_layers),
        "detr_encoder_config": layers(TINY.encoder_layers),
        "detr_decoder_config": layers(TINY.decoder_layers) | {"num_queries": TINY.queries},
        "mask_decoder_config": mask_decoder,
    }
    tracker = {
        "vision_config": {"model_type": "sam3_vision_model", **vision},
        "image_size": TINY.image_size,
        "prompt_encoder_config": {"hidden_size": TINY.d_model, "image_size": TINY.image_size},
        "mask_decoder_config": {"hidden_size": TINY.d_model, "num_attention_heads": TINY.click_heads},
        "memory_attention_hidden_size": TINY.d_model,
        "memory_attention_rope_feat_sizes": [TINY.grid] * 2,
        "memory_encoder_hidden_size": TINY.d_model,
        "memory_encoder_output_channels": TINY.d_model // 4,
        "mask_downsampler_embed_dim": TINY.d_model,
        "memory_fuser_embed_dim": TINY.d_model,
    }
    return Sam3VideoConfig(detector_config=detector, tracker_config=tracker)


@pytest.fixture(scope="session")
def theirs() -> Any:
    """transformers' model for images, clicks and video, with random weights, none of which is zero or one."""
    from transformers import Sam3VideoModel

    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = Sam3VideoModel(configuration()).eval()
        for name, value in model.named_parameters():
            spread = 0.02 if "embed" in name else 0.05
            value.data = (
                1.0 if "norm" in name and name.endswith("weight") else 0.0
            ) + spread * torch.randn_like(value)
        clicks = model.tracker_model
        # Meta's model has one matrix for points and for images, of which transformers' files keep two copies.
        positions = clicks.shared_image_embedding.positional_embedding
        clicks.prompt_encoder.shared_embedding.positional_embedding.copy_(positions)
        # Where it sees no object, transformers gives no mask. For still images the package gives one all the same.
        torch.nn.init.ones_(clicks.mask_decoder.pred_obj_score_head.proj_out.bias)
    return model
