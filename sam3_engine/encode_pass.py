"""One pass of the image encoder: pixels on the device in, an embedding's arrays on the device out.

On CUDA, a pass over few images may be one graph: the device computes an image in less time than the host takes to start
its kernels.
"""

import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine.compact import arrays, features_of
from sam3_engine.features import ImageFeatures, encode_images, normalise
from sam3_engine.graphs import Graphs, Tensors
from sam3_engine.spec import GRAPHED_IMAGES
from sam3_engine.trunk.vit import Trunk


class EncodePass:
    """The image encoder on a device."""

    def __init__(self, model: Sam3Image, trunk: Trunk, dtype: torch.dtype, device: torch.device) -> None:
        """trunk: runs instead of the model's own. dtype: of the embedding's arrays."""
        self._model = model
        self._trunk = trunk
        self._dtype = dtype
        self.graphs = Graphs.on(self._encoded, device, largest=GRAPHED_IMAGES)

    def __call__(self, images: torch.Tensor) -> ImageFeatures:
        """Features of uint8 [B, S, S, 3] RGB, in the embedding's dtype and channels last."""
        return features_of(self.graphs.copied(images, count=len(images)))

    def _encoded(self, images: torch.Tensor) -> Tensors:
        return arrays(encode_images(self._model, normalise(images), self._trunk), self._dtype)
