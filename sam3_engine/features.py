"""Image features, which the encoder computes once per image and all prompts share.

Two pyramids are computed from the trunk's output. The interactive one (PVS) is small after the mask decoder's own 1x1
convolutions; the concept one (PCS) is large, and cheap to compute again on a GPU. So the compact embedding keeps the
trunk's output and the PVS features, and the first concept prompt computes the PCS pyramid.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine.fusion import FusedImages, fuse_images

Pyramid = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Feature maps [B, C, 4g, 4g], [B, C, 2g, 2g], [B, C, g, g] with g the trunk's grid."""


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """Features of a batch of images on the model's device.

    trunk: [B, vit_dim, g, g]. pvs: ([B, d/8, 4g, 4g], [B, d/4, 2g, 2g], [B, d, g, g]); the last includes the
    "no memory" embedding that SAM adds to still images.
    """

    trunk: torch.Tensor
    pvs: Pyramid


def normalise(images: torch.Tensor) -> torch.Tensor:
    """uint8 [B, S, S, 3] RGB to float32 [B, 3, S, S] in [-1, 1], as the package's Sam3Processor does."""
    return (images.permute(0, 3, 1, 2).float() / 255.0 - 0.5) / 0.5


def encode_images(
    model: Sam3Image,
    pixels: torch.Tensor,
    trunk_of: Callable[[torch.Tensor], Sequence[torch.Tensor]] | None = None,
) -> ImageFeatures:
    """Run the trunk and the interactive neck on normalised pixels, float [B, 3, S, S].

    trunk_of: runs instead of the model's own trunk.
    """
    neck = model.backbone.vision_backbone
    trunk = (trunk_of or neck.trunk)(pixels)[-1]
    heads = model.inst_interactive_predictor.model
    fine, middle = (convs(trunk) for convs in list(neck.sam2_convs)[:2])
    decoder = heads.sam_mask_decoder
    return ImageFeatures(
        trunk, (decoder.conv_s0(fine), decoder.conv_s1(middle), coarse_features(model, trunk))
    )


def coarse_features(model: Sam3Image, trunk: torch.Tensor) -> torch.Tensor:
    """The coarsest map of the interactive pyramid, [B, d_model, g, g], of trunk features [B, vit_dim, g, g]."""
    coarse = model.backbone.vision_backbone.sam2_convs[2](trunk)
    # SAM adds this constant to the coarsest map of an image that has no video memory.
    return coarse + model.inst_interactive_predictor.model.no_mem_embed.view(1, -1, 1, 1)


def concept_pyramid(model: Sam3Image, trunk: torch.Tensor) -> Pyramid:
    """The PCS pyramid of trunk features [B, vit_dim, g, g]."""
    fine, middle, coarse = (convs(trunk) for convs in list(model.backbone.vision_backbone.convs)[:3])
    return fine, middle, coarse


@dataclass(slots=True)
class Features:
    """One image's features on the device, ready for prompts. A decoder keeps these in its hot tier.

    Shapes as in ImageFeatures with B = 1. The PCS pyramid, and the fusion encoder's part that no prompt changes, are
    computed at the first concept prompt and then kept.
    """

    image: ImageFeatures
    _pyramid: Pyramid | None = None
    _fused: FusedImages | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def pyramid(self, model: Sam3Image) -> Pyramid:
        """The PCS pyramid, computed once even when several threads call this at the same time."""
        with self._lock:
            if self._pyramid is None:
                self._pyramid = concept_pyramid(model, self.image.trunk)
            return self._pyramid

    def fused(self, model: Sam3Image) -> FusedImages:
        """The fusion encoder's part that no prompt changes, computed once as the pyramid."""
        coarse = self.pyramid(model)[-1]
        with self._lock:
            if self._fused is None:
                self._fused = fuse_images(model, coarse)
            return self._fused

    def float(self) -> "Features":
        """The same features in float32."""
        fine, middle, coarse = (level.float() for level in self.image.pvs)
        return Features(ImageFeatures(self.image.trunk.float(), (fine, middle, coarse)))

    @property
    def nbytes(self) -> int:
        """Bytes held on the device now."""
        tensors = [self.image.trunk, *self.image.pvs, *(self._pyramid or ())]
        return sum(tensor.nbytes for tensor in tensors) + (self._fused.nbytes if self._fused else 0)
