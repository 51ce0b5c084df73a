"""transformers' SAM 3 for videos with the sizes of `tiny` and random weights: another tracker, to be compared with."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sam3_engine.features import normalise
from sam3_engine.spec import TINY


def configuration() -> Any:
    """The `Sam3VideoConfig` of that size."""
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
        "num_maskmem": TINY.memories + 1,
        "memory_attention_hidden_size": TINY.d_model,
        "memory_attention_rope_feat_sizes": [TINY.grid] * 2,
        "memory_encoder_hidden_size": TINY.d_model,
        "memory_encoder_output_channels": TINY.d_model // 4,
        "mask_downsampler_embed_dim": TINY.d_model,
        "memory_fuser_embed_dim": TINY.d_model,
    }
    return Sam3VideoConfig(detector_config=detector, tracker_config=tracker)


@dataclass
class TransformersVideo:
    """`Sam3VideoModel` over a video whose frames come one by one, with objects that masks began.

    A frame is what its `forward` does for an encode and for the objects, without its detection, of which random weights
    make any number of objects. frame: the next one's number.
    """

    objects: int
    frame: int = 0
    _model: Any = field(init=False)
    _session: Any = field(init=False)

    def __post_init__(self) -> None:
        from transformers import Sam3VideoModel
        from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

        with torch.random.fork_rng():
            torch.manual_seed(0)
            self._model = Sam3VideoModel(configuration()).eval()
            for layer in self._model.tracker_model.memory_attention.layers:
                # transformers takes memories to be 64 wide, whatever the configuration says.
                for name in ("k_proj", "v_proj"):
                    setattr(layer.cross_attn_image, name, torch.nn.Linear(TINY.d_model // 4, TINY.d_model))
        side = TINY.image_size
        self._session = Sam3VideoInferenceSession(video_height=side, video_width=side, dtype=torch.float32)
        for number in range(self.objects):
            place = self._session.obj_id_to_idx(number + 1)
            mask = torch.zeros(1, 1, side, side)
            left = 13 * number % (side // 2)
            mask[..., 40:90, left : left + 50] = 1
            self._session.add_mask_inputs(place, 0, mask)
        self._session.obj_with_new_inputs = list(range(1, self.objects + 1))

    @torch.inference_mode()
    def encode(self, square: npt.NDArray[np.uint8]) -> Any:
        """What the tracker needs of a frame, uint8 [S, S, 3]."""
        pixels = normalise(torch.from_numpy(square[None]))
        vision = self._model.detector_model.get_vision_features(pixel_values=pixels)
        return pixels, self._model.get_vision_features_for_tracker(vision_embeds=vision)

    @torch.inference_mode()
    def follow(self, square: npt.NDArray[np.uint8]) -> Any:
        """Encode the next frame and find the objects in it; their mask logits."""
        pixels, (features, positions) = self.encode(square)
        self._session.add_new_frame(pixels, self.frame)
        self._session.cache.cache_vision_features(
            self.frame, {"vision_feats": features, "vision_pos_embeds": positions}
        )
        found = self._model.tracker_model(inference_session=self._session, frame_idx=self.frame)
        self.frame += 1
        return found.pred_masks
