"""The names that transformers' SAM 3 classes give to the weights, and where these are in the official file.

Three things differ beside names: transformers keeps query, key and value apart, which the official file has as one
matrix; it drops the row of the position table that belongs to the class token; and the text projection is transposed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sam3_engine.checkpoint_files.names import unwrapped

QKV = ("q", "k", "v")

ROWS = """
vision_encoder.backbone.embeddings.patch_embeddings.projection   backbone.vision_backbone.trunk.patch_embed.proj
vision_encoder.backbone.layer_norm             backbone.vision_backbone.trunk.ln_pre
vision_encoder.backbone.layers.*.layer_norm1   backbone.vision_backbone.trunk.blocks.*.norm1
vision_encoder.backbone.layers.*.layer_norm2   backbone.vision_backbone.trunk.blocks.*.norm2
vision_encoder.backbone.layers.*.attention.QKV backbone.vision_backbone.trunk.blocks.*.attn.qkv
vision_encoder.backbone.layers.*.attention.o_proj backbone.vision_backbone.trunk.blocks.*.attn.proj
vision_encoder.backbone.layers.*.mlp.fc1       backbone.vision_backbone.trunk.blocks.*.mlp.fc1
vision_encoder.backbone.layers.*.mlp.fc2       backbone.vision_backbone.trunk.blocks.*.mlp.fc2
text_encoder.text_model.embeddings.token_embedding    backbone.language_backbone.encoder.token_embedding
text_encoder.text_model.final_layer_norm              backbone.language_backbone.encoder.ln_final
text_encoder.text_model.encoder.layers.*.self_attn.QKV      @T.*.attn.in_proj
text_encoder.text_model.encoder.layers.*.self_attn.out_proj @T.*.attn.out_proj
text_encoder.text_model.encoder.layers.*.layer_norm1        @T.*.ln_1
text_encoder.text_model.encoder.layers.*.layer_norm2        @T.*.ln_2
text_encoder.text_model.encoder.layers.*.mlp.fc1            @T.*.mlp.c_fc
text_encoder.text_model.encoder.layers.*.mlp.fc2            @T.*.mlp.c_proj
text_projection                                       backbone.language_backbone.resizer
geometry_encoder.label_embed                   geometry_encoder.label_embed
geometry_encoder.cls_embed                     geometry_encoder.cls_embed
geometry_encoder.boxes_direct_project          geometry_encoder.boxes_direct_project
geometry_encoder.boxes_pool_project            geometry_encoder.boxes_pool_project
geometry_encoder.boxes_pos_enc_project         geometry_encoder.boxes_pos_enc_project
geometry_encoder.final_proj                    geometry_encoder.final_proj
geometry_encoder.vision_layer_norm             geometry_encoder.img_pre_norm
geometry_encoder.prompt_layer_norm             geometry_encoder.norm
geometry_encoder.output_layer_norm             geometry_encoder.encode_norm
geometry_encoder.layers.*                      geometry_encoder.encode.*                 fusion
detr_encoder.layers.*                          transformer.encoder.layers.*              fusion
detr_decoder.layers.*.self_attn.QKV            transformer.decoder.layers.*.self_attn.in_proj
detr_decoder.layers.*.self_attn.o_proj         transformer.decoder.layers.*.self_attn.out_proj
detr_decoder.layers.*.self_attn_layer_norm     transformer.decoder.layers.*.norm2
detr_decoder.layers.*.text_cross_attn.QKV      transformer.decoder.layers.*.ca_text.in_proj
detr_decoder.layers.*.text_cross_attn.o_proj   transformer.decoder.layers.*.ca_text.out_proj
detr_decoder.layers.*.text_cross_attn_layer_norm transformer.decoder.layers.*.catext_norm
detr_decoder.layers.*.vision_cross_attn.QKV    transformer.decoder.layers.*.cross_attn.in_proj
detr_decoder.layers.*.vision_cross_attn.o_proj transformer.decoder.layers.*.cross_attn.out_proj
detr_decoder.layers.*.vision_cross_attn_layer_norm transformer.decoder.layers.*.norm1
detr_decoder.layers.*.mlp.fc1                  transformer.decoder.layers.*.linear1
detr_decoder.layers.*.mlp.fc2                  transformer.decoder.layers.*.linear2
detr_decoder.layers.*.mlp_layer_norm           transformer.decoder.layers.*.norm3
detr_decoder.output_layer_norm                 transformer.decoder.norm
detr_decoder.query_embed                       transformer.decoder.query_embed
detr_decoder.reference_points                  transformer.decoder.reference_points
detr_decoder.presence_token                    transformer.decoder.presence_token
detr_decoder.presence_layer_norm               transformer.decoder.presence_token_out_norm
detr_decoder.presence_head.layer               transformer.decoder.presence_token_head.layers.   counted
detr_decoder.box_head.layer                    transformer.decoder.bbox_embed.layers.            counted
detr_decoder.ref_point_head.layer              transformer.decoder.ref_point_head.layers.        counted
detr_decoder.box_rpb_embed_x.layer             transformer.decoder.boxRPB_embed_x.layers.        counted
detr_decoder.box_rpb_embed_y.layer             transformer.decoder.boxRPB_embed_y.layers.        counted
dot_product_scoring.text_mlp.layer             dot_prod_scoring.prompt_mlp.layers.               counted
dot_product_scoring.text_mlp_out_norm          dot_prod_scoring.prompt_mlp.out_norm
dot_product_scoring.text_proj                  dot_prod_scoring.prompt_proj
dot_product_scoring.query_proj                 dot_prod_scoring.hs_proj
mask_decoder.pixel_decoder.conv_layers.*       segmentation_head.pixel_decoder.conv_layers.*
mask_decoder.pixel_decoder.norms.*             segmentation_head.pixel_decoder.norms.*
mask_decoder.mask_embedder.layers.*            segmentation_head.mask_predictor.mask_embed.layers.*
mask_decoder.instance_projection               segmentation_head.instance_seg_head
mask_decoder.semantic_projection               segmentation_head.semantic_seg_head
mask_decoder.prompt_cross_attn.QKV             segmentation_head.cross_attend_prompt.in_proj
mask_decoder.prompt_cross_attn.o_proj          segmentation_head.cross_attend_prompt.out_proj
mask_decoder.prompt_cross_attn_norm            segmentation_head.cross_attn_norm
""".replace("@T", "backbone.language_backbone.encoder.transformer.resblocks")
"""Modules of the detector: transformers' name, the official one. `*` is a number, `QKV` stands for q_proj, k_proj and
v_proj. `fusion`: a layer of FUSION's modules; `counted`: layers that transformers counts from 1, the official file from
0."""

FUSION = """
self_attn.QKV     self_attn.in_proj
self_attn.o_proj  self_attn.out_proj
cross_attn.QKV    cross_attn_image.in_proj
cross_attn.o_proj cross_attn_image.out_proj
mlp.fc1           linear1
mlp.fc2           linear2
layer_norm1       norm1
layer_norm2       norm2
layer_norm3       norm3
"""

NECK = """
0.scale_layers.0  0.dconv_2x2_0
0.scale_layers.2  0.dconv_2x2_1
1.scale_layers.0  1.dconv_2x2
*.proj1           *.conv_1x1
*.proj2           *.conv_3x3
"""

CLICKS = """
prompt_encoder.no_mask_embed             sam_prompt_encoder.no_mask_embed
prompt_encoder.not_a_point_embed         sam_prompt_encoder.not_a_point_embed
prompt_encoder.mask_embed.conv1          sam_prompt_encoder.mask_downscaling.0
prompt_encoder.mask_embed.layer_norm1    sam_prompt_encoder.mask_downscaling.1
prompt_encoder.mask_embed.conv2          sam_prompt_encoder.mask_downscaling.3
prompt_encoder.mask_embed.layer_norm2    sam_prompt_encoder.mask_downscaling.4
prompt_encoder.mask_embed.conv3          sam_prompt_encoder.mask_downscaling.6
mask_decoder.iou_token                   sam_mask_decoder.iou_token
mask_decoder.mask_tokens                 sam_mask_decoder.mask_tokens
mask_decoder.obj_score_token             sam_mask_decoder.obj_score_token
mask_decoder.conv_s0                     sam_mask_decoder.conv_s0
mask_decoder.conv_s1                     sam_mask_decoder.conv_s1
mask_decoder.upscale_conv1               sam_mask_decoder.output_upscaling.0
mask_decoder.upscale_layer_norm          sam_mask_decoder.output_upscaling.1
mask_decoder.upscale_conv2               sam_mask_decoder.output_upscaling.3
mask_decoder.output_hypernetworks_mlps.* sam_mask_decoder.output_hypernetworks_mlps.*.layers  three
mask_decoder.iou_prediction_head         sam_mask_decoder.iou_prediction_head.layers          three
mask_decoder.pred_obj_score_head         sam_mask_decoder.pred_obj_score_head.layers          three
mask_decoder.transformer.layers.*.self_attn                 @X.layers.*.self_attn                 attention
mask_decoder.transformer.layers.*.cross_attn_token_to_image @X.layers.*.cross_attn_token_to_image attention
mask_decoder.transformer.layers.*.cross_attn_image_to_token @X.layers.*.cross_attn_image_to_token attention
mask_decoder.transformer.final_attn_token_to_image          @X.final_attn_token_to_image          attention
mask_decoder.transformer.layer_norm_final_attn              @X.norm_final_attn
mask_decoder.transformer.layers.*.layer_norm1   @X.layers.*.norm1
mask_decoder.transformer.layers.*.layer_norm2   @X.layers.*.norm2
mask_decoder.transformer.layers.*.layer_norm3   @X.layers.*.norm3
mask_decoder.transformer.layers.*.layer_norm4   @X.layers.*.norm4
mask_decoder.transformer.layers.*.mlp.proj_in   @X.layers.*.mlp.lin1
mask_decoder.transformer.layers.*.mlp.proj_out  @X.layers.*.mlp.lin2
""".replace("@X", "sam_mask_decoder.transformer")
"""Modules for clicks. `three`: the three layers that transformers calls proj_in, layers.0 and proj_out; `attention`:
q_proj, k_proj, v_proj and o_proj, which the official file keeps apart too."""

INNER: dict[str, list[list[str]]] = {
    "fusion": [line.split() for line in FUSION.split("\n") if line],
    "three": [["proj_in", "0"], ["layers.0", "1"], ["proj_out", "2"]],
    "attention": [["q_proj", "q_proj"], ["k_proj", "k_proj"], ["v_proj", "v_proj"], ["o_proj", "out_proj"]],
}

POSITIONS = "detector.backbone.vision_backbone.trunk.pos_embed"
TEXT = "detector.backbone.language_backbone.encoder"
TRANSPOSED = f"{TEXT}.text_projection"
CLICK_POSITIONS = "tracker.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"

WHOLE = {
    "detector_model.vision_encoder.backbone.embeddings.position_embeddings": POSITIONS,
    "detector_model.text_encoder.text_model.embeddings.position_embedding.weight": f"{TEXT}.positional_embedding",
    "detector_model.text_encoder.text_projection.weight": TRANSPOSED,
    "tracker_model.no_memory_embedding": "tracker.no_mem_embed",
    "tracker_model.shared_image_embedding.positional_embedding": CLICK_POSITIONS,
    "tracker_model.prompt_encoder.shared_embedding.positional_embedding": CLICK_POSITIONS,
    "tracker_model.prompt_encoder.point_embed.weight": "tracker.sam_prompt_encoder.point_embeddings.*.weight",
}
"""Names of single tensors. `*`: each row of transformers' tensor is a tensor of the official file."""

DETECTOR_ROOTS = (
    "vision_encoder.",
    "text_encoder.",
    "text_projection.",
    "geometry_encoder.",
    "detr_encoder.",
    "detr_decoder.",
    "dot_product_scoring.",
    "mask_decoder.",
)
"""Children of transformers' `Sam3Model`. `Sam3VideoModel`, which the Hub has, keeps them below `detector_model.`."""
VIDEO = re.compile(
    r"tracker_model\.(memory_|object_pointer|no_object_pointer|occlusion_|temporal_|mask_downsample|no_memory_positional)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """The official tensor that holds a tensor of transformers': part number `part` of its `parts` equal parts along the
    first dimension."""

    name: str
    part: int = 0
    parts: int = 1


def is_transformers(names: Iterable[str]) -> bool:
    """Recognise the weights of transformers' `Sam3Model` or `Sam3VideoModel` by their names."""
    starts = ("detr_decoder.", "detr_encoder.", "vision_encoder.backbone.layers.")
    return any(unwrapped(name).startswith((*starts, "detector_model.")) for name in names)


def once(name: str) -> str:
    """The name without the parts of wrappers, and without a repeated prefix: transformers writes
    `tracker_model.tracker_model.` when it saves a model."""
    return re.sub(r"^((detector|tracker)_model\.)\1+", r"\1", unwrapped(name))


def only_for_video(name: str) -> bool:
    """Tell transformers' weights for video from unknown names. The name is one that has no place."""
    return VIDEO.match(once(name)) is not None


def place(name: str) -> Place | None:
    """The place of a tensor of transformers', or None for a name that SAM 3 does not have."""
    name = once(name)
    if name.startswith(DETECTOR_ROOTS):
        name = f"detector_model.{name}"
    if name in WHOLE:
        return Place(WHOLE[name])
    module, _, parameter = name.rpartition(".")
    parent, _, last = module.rpartition(".")
    if last.endswith("_proj") and last[0] in QKV:
        together = _official(f"{parent}.QKV")
        if together:
            joint = "_" if together.endswith("in_proj") else "."
            return Place(f"{together}{joint}{parameter}", QKV.index(last[0]), len(QKV))
    official = _official(module)
    return Place(f"{official}.{parameter}") if official else None


def _official(module: str) -> str | None:
    for pattern, target in _PATTERNS:
        found = pattern.fullmatch(module)
        if found:
            return target.replace("*", "{}").format(*found.groups())
    return None


def _patterns() -> list[tuple[re.Pattern[str], str]]:
    rows: list[tuple[str, str]] = []
    models = ((ROWS, "detector_model.", "detector."), (CLICKS, "tracker_model.", "tracker."))
    for text, ours, theirs in models:
        for source, target, *kind in (line.split() for line in text.split("\n") if line):
            if kind == ["counted"]:
                rows += [(f"{ours}{source}{count + 1}", f"{theirs}{target}{count}") for count in range(3)]
            elif kind:
                rows += [(f"{ours}{source}.{a}", f"{theirs}{target}.{b}") for a, b in INNER[kind[0]]]
            else:
                rows.append((ours + source, theirs + target))
    for neck, convs in (("detector_model.vision_encoder.neck", "convs"), ("tracker_neck", "sam2_convs")):
        for source, target in (line.split() for line in NECK.split("\n") if line):
            rows.append(
                (f"{neck}.fpn_layers.{source}", f"detector.backbone.vision_backbone.{convs}.{target}")
            )
    return [(re.compile(re.escape(source).replace(r"\*", r"(\d+)")), target) for source, target in rows]


_PATTERNS = _patterns()
