"""Build SAM 3 at any size from the `sam3` package's own classes, whole or the part that one process needs.

`sam3.model_builder` builds the official size on CUDA only: it precomputes position encodings and box coordinates on
"cuda". Both are caches that fill themselves at first use, so leaving those arguments out changes no value and no key
of the state dict.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from sam3.model.decoder import TransformerDecoderLayerv2, TransformerEncoderCrossAttention
from sam3.model.encoder import TransformerEncoderFusion, TransformerEncoderLayer
from sam3.model.maskformer_segmentation import PixelDecoder, UniversalSegmentationHead
from sam3.model.memory import CXBlock, SimpleFuser, SimpleMaskDownSampler, SimpleMaskEncoder
from sam3.model.model_misc import MLP, DotProductScoring, MultiheadAttentionWrapper, TransformerWrapper
from sam3.model.necks import Sam3DualViTDetNeck
from sam3.model.position_encoding import PositionEmbeddingSine
from sam3.model.sam3_image import Sam3Image
from sam3.model.sam3_tracker_base import Sam3TrackerBase
from sam3.model.text_encoder_ve import VETextEncoder
from sam3.model.vitdet import ViT
from sam3.model.vl_combiner import SAM3VLBackbone
from sam3.sam.transformer import RoPEAttention, TwoWayTransformer
from torch import nn

from sam3_engine.detection import DetectionDecoder, DetectionLayer
from sam3_engine.geometry import GeometryEncoder
from sam3_engine.roles import Role, keep_parts
from sam3_engine.spec import ModelSpec
from sam3_engine.tokens import LazyTokenizer


class InteractiveHead(nn.Module):
    """Holds the click decoder under the name that the official checkpoint uses for it."""

    def __init__(self, model: Sam3TrackerBase) -> None:
        super().__init__()
        self.model = model


class MemoryAttention(RoPEAttention):
    """`sam3`'s attention to earlier frames, whose table of rotations moves with the module. The package puts the table
    on CUDA wherever there is CUDA, also in a model that runs on the CPU."""

    def __init__(self, *, feat_sizes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(feat_sizes=feat_sizes, **kwargs)
        del self.freqs_cis
        with torch.device("cpu"):
            table = self.compute_cis(end_x=feat_sizes[0], end_y=feat_sizes[1])
        self.register_buffer("freqs_cis", table, persistent=False)


class NoTrunk(nn.Module):
    """Stands where a decoder's image trunk would be: the package's neck asks the trunk for its width."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.channel_list = [spec.vit_dim]


def build_model(
    spec: ModelSpec, role: Role = "all", *, interactive: bool = True, video: bool = False
) -> Sam3Image:
    """Assemble the model with random weights, in eval mode, on the current default device.

    The parts that `role` does not need are left out (see `sam3_engine.roles`), and so are those that only video
    needs, unless `video`. With `video`, the state dict of role "all" is that of
    `build_sam3_image_model(enable_inst_interactivity=interactive)` key for key when `spec` is `SAM3`. An encoder or a
    decoder needs `interactive`.
    """
    trunk = NoTrunk(spec) if role == "decoder" else build_trunk(spec)
    model = Sam3Image(
        backbone=SAM3VLBackbone(
            visual=_neck(spec, trunk, interactive),
            text=None if role == "encoder" else _text(spec),
            scalp=1,
        ),
        transformer=TransformerWrapper(_encoder(spec), _decoder(spec), d_model=spec.d_model),
        input_geometry_encoder=_geometry(spec),
        segmentation_head=_segmentation(spec),
        num_feature_levels=1,
        o2m_mask_predict=True,
        dot_prod_scoring=_scoring(spec),
        use_instance_query=False,
        multimask_output=True,
        inst_interactive_predictor=InteractiveHead(_tracker(spec)) if interactive else None,
        matcher=None,
    )
    keep_parts(model, role, video=video)
    return model.eval()


def vocabulary_path() -> Path:
    """The BPE vocabulary file (CLIP's), which the `sam3` wheel leaves out and `open_clip_torch` ships.

    Found without importing open_clip, which takes seconds. Raises FileNotFoundError.
    """
    package = find_spec("open_clip")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz"
        if path.is_file():
            return path
    raise FileNotFoundError("the text vocabulary is missing: pip install open_clip_torch")


def _position_encoding(features: int) -> PositionEmbeddingSine:
    return PositionEmbeddingSine(num_pos_feats=features, normalize=True, scale=None, temperature=10000)


def build_trunk(spec: ModelSpec) -> nn.Module:
    """The image trunk: pixels float [B, 3, S, S] to a list whose last element is [B, vit_dim, g, g].

    `channel_list` holds its width; its state dict has the names of the package's ViT.
    """
    return ViT(
        img_size=spec.image_size,
        pretrain_img_size=spec.pretrain_image_size,
        patch_size=spec.patch_size,
        embed_dim=spec.vit_dim,
        depth=spec.vit_depth,
        num_heads=spec.vit_heads,
        mlp_ratio=spec.vit_mlp_ratio,
        norm_layer="LayerNorm",
        drop_path_rate=spec.vit_drop_path,
        qkv_bias=True,
        use_abs_pos=True,
        tile_abs_pos=True,
        global_att_blocks=spec.vit_global_blocks,
        rel_pos_blocks=(),
        use_rope=True,
        use_interp_rope=True,
        window_size=spec.vit_window,
        pretrain_use_cls_token=True,
        retain_cls_token=False,
        ln_pre=True,
        ln_post=False,
        return_interm_layers=False,
        bias_patch_embed=False,
    )


def _neck(spec: ModelSpec, trunk: nn.Module, interactive: bool) -> Sam3DualViTDetNeck:
    return Sam3DualViTDetNeck(
        position_encoding=_position_encoding(spec.d_model),
        d_model=spec.d_model,
        scale_factors=[4.0, 2.0, 1.0, 0.5],
        trunk=trunk,
        add_sam2_neck=interactive,
    )


def _text(spec: ModelSpec) -> VETextEncoder:
    encoder = VETextEncoder(
        tokenizer=LazyTokenizer(vocabulary_path()),
        d_model=spec.d_model,
        width=spec.text_dim,
        heads=spec.text_heads,
        layers=spec.text_layers,
    )
    # The package derives its mask from an empty tensor, which has no values in a model that is built without them.
    length = encoder.context_length
    encoder.encoder.attn_mask = torch.full((length, length), -torch.inf).triu(1)
    # The package leaves these two uninitialised; random weights must at least be finite.
    nn.init.normal_(encoder.encoder.positional_embedding, std=0.01)
    nn.init.normal_(encoder.encoder.text_projection, std=spec.text_dim**-0.5)
    return encoder


def _attention(spec: ModelSpec, *, batch_first: bool = False, dropout: float | None = None) -> nn.Module:
    return MultiheadAttentionWrapper(
        num_heads=spec.heads,
        dropout=spec.dropout if dropout is None else dropout,
        embed_dim=spec.d_model,
        batch_first=batch_first,
    )


def _fusion_layer(
    spec: ModelSpec, *, batch_first: bool, pos_at_self: bool, pos_at_keys: bool
) -> TransformerEncoderLayer:
    return TransformerEncoderLayer(
        activation="relu",
        d_model=spec.d_model,
        dim_feedforward=spec.ffn_dim,
        dropout=spec.dropout,
        pos_enc_at_attn=pos_at_self,
        pos_enc_at_cross_attn_keys=pos_at_keys,
        pos_enc_at_cross_attn_queries=False,
        pre_norm=True,
        self_attention=_attention(spec, batch_first=batch_first),
        cross_attention=_attention(spec, batch_first=batch_first),
    )


def _encoder(spec: ModelSpec) -> TransformerEncoderFusion:
    return TransformerEncoderFusion(
        layer=_fusion_layer(spec, batch_first=True, pos_at_self=True, pos_at_keys=False),
        num_layers=spec.encoder_layers,
        d_model=spec.d_model,
        num_feature_levels=1,
        frozen=False,
        use_act_checkpoint=True,
        add_pooled_text_to_img_feat=False,
        pool_text_with_mask=True,
    )


def _decoder(spec: ModelSpec) -> DetectionDecoder:
    layer = DetectionLayer(
        activation="relu",
        d_model=spec.d_model,
        dim_feedforward=spec.ffn_dim,
        dropout=spec.dropout,
        cross_attention=_attention(spec),
        n_heads=spec.heads,
        use_text_cross_attention=True,
    )
    return DetectionDecoder(
        layer=layer,
        num_layers=spec.decoder_layers,
        num_queries=spec.queries,
        return_intermediate=True,
        box_refine=True,
        num_o2m_queries=0,
        dac=spec.one_to_many,
        boxRPB="log",
        d_model=spec.d_model,
        frozen=False,
        interaction_layer=None,
        dac_use_selfatt_ln=True,
        use_act_checkpoint=True,
        presence_token=True,
    )


def _scoring(spec: ModelSpec) -> DotProductScoring:
    prompt_mlp = MLP(
        input_dim=spec.d_model,
        hidden_dim=spec.ffn_dim,
        output_dim=spec.d_model,
        num_layers=2,
        dropout=spec.dropout,
        residual=True,
        out_norm=nn.LayerNorm(spec.d_model),
    )
    return DotProductScoring(d_model=spec.d_model, d_proj=spec.d_model, prompt_mlp=prompt_mlp)


def _segmentation(spec: ModelSpec) -> UniversalSegmentationHead:
    return UniversalSegmentationHead(
        hidden_dim=spec.d_model,
        upsampling_stages=3,
        aux_masks=False,
        presence_head=False,
        dot_product_scorer=None,
        act_ckpt=False,
        cross_attend_prompt=_attention(spec, dropout=0.0),
        pixel_decoder=PixelDecoder(
            num_upsampling_stages=3, interpolation_mode="nearest", hidden_dim=spec.d_model
        ),
    )


def _geometry(spec: ModelSpec) -> GeometryEncoder:
    return GeometryEncoder(
        pos_enc=_position_encoding(spec.d_model),
        encode_boxes_as_points=False,
        points_direct_project=True,
        points_pool=True,
        points_pos_enc=True,
        boxes_direct_project=True,
        boxes_pool=True,
        boxes_pos_enc=True,
        d_model=spec.d_model,
        num_layers=spec.geometry_layers,
        layer=_fusion_layer(spec, batch_first=False, pos_at_self=False, pos_at_keys=True),
        use_act_ckpt=True,
        add_cls=True,
        add_post_encode_proj=True,
    )


def _convnext_block(dim: int) -> CXBlock:
    return CXBlock(dim=dim, kernel_size=7, padding=3, layer_scale_init_value=1.0e-06, use_dwconv=True)


def _tracker(spec: ModelSpec) -> Sam3TrackerBase:
    """The tracker, of which images use the prompt encoder and the mask decoder.

    Its memory encoder and memory attention serve video: `roles.keep_parts` takes them out again. The package's
    constructor asks for them.
    The package's `Sam3TrackerPredictor` is avoided: its constructor switches CUDA autocast on for the whole process.
    """
    memory_dim = spec.d_model // 4
    memory_encoder = SimpleMaskEncoder(
        out_dim=memory_dim,
        position_encoding=_position_encoding(memory_dim),
        mask_downsampler=SimpleMaskDownSampler(
            embed_dim=spec.d_model,
            kernel_size=3,
            stride=2,
            padding=1,
            interpol_size=[16 * spec.grid, 16 * spec.grid],
        ),
        fuser=SimpleFuser(layer=_convnext_block(spec.d_model), num_layers=2),
        in_dim=spec.d_model,
    )
    tracker = Sam3TrackerBase(
        image_size=spec.image_size,
        num_maskmem=spec.memories + 1,
        backbone=None,
        backbone_stride=spec.patch_size,
        transformer=_memory_attention(spec, memory_dim),
        maskmem_backbone=memory_encoder,
        multimask_output_in_sam=True,
        forward_backbone_per_frame_for_eval=True,
        multimask_output_for_tracking=True,
        multimask_min_pt_num=0,
        multimask_max_pt_num=1,
        non_overlap_masks_for_mem_enc=False,
        max_cond_frames_in_attn=4,
        offload_output_to_cpu_for_eval=False,
        trim_past_non_cond_mem_for_eval=False,
        sam_mask_decoder_extra_args={
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
    )
    # The package fixes eight heads; the parameters are the same for any number.
    tracker.sam_mask_decoder.transformer = TwoWayTransformer(
        depth=2, embedding_dim=spec.d_model, mlp_dim=2048, num_heads=spec.click_heads
    )
    return tracker


def _memory_attention(spec: ModelSpec, memory_dim: int) -> TransformerWrapper:
    def rope_attention(**kwargs: Any) -> MemoryAttention:
        return MemoryAttention(
            embedding_dim=spec.d_model,
            num_heads=1,
            downsample_rate=1,
            dropout=0.1,
            rope_theta=10000.0,
            feat_sizes=[spec.grid, spec.grid],
            use_fa3=False,
            use_rope_real=False,
            **kwargs,
        )

    layer = TransformerDecoderLayerv2(
        cross_attention_first=False,
        activation="relu",
        dim_feedforward=spec.ffn_dim,
        dropout=0.1,
        pos_enc_at_attn=False,
        pre_norm=True,
        self_attention=rope_attention(),
        d_model=spec.d_model,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        cross_attention=rope_attention(kv_in_dim=memory_dim, rope_k_repeat=True),
    )
    encoder = TransformerEncoderCrossAttention(
        remove_cross_attention_layers=[],
        batch_first=True,
        d_model=spec.d_model,
        frozen=False,
        pos_enc_at_input=True,
        layer=layer,
        num_layers=4,
        use_act_checkpoint=False,
    )
    return TransformerWrapper(encoder=encoder, decoder=None, d_model=spec.d_model)
