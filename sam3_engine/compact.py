"""Conversion between features on a device and compact embeddings in host memory.

The model computes with channels last, and so are the arrays: the device converts numbers, and the host only receives
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sam3_engine.embedding import Embedding
from sam3_engine.errors import StaleEmbedding
from sam3_engine.features import Features, ImageFeatures
from sam3_engine.transfer import Arriving, Transfer, as_array

_NAMES = ("trunk", "pvs_fine", "pvs_middle", "pvs_coarse")


@dataclass(frozen=True, slots=True)
class PendingEmbedding:
    """An image's embedding, which a GPU may still be computing."""

    version: str
    arriving: Arriving

    def result(self) -> Embedding:
        """The embedding, once it is there. Not for the thread that feeds the GPU."""
        arrays = (as_array(tensor) for tensor in self.arriving.wait())
        return Embedding(self.version, dict(zip(_NAMES, arrays, strict=True)))


def pack(
    features: ImageFeatures, version: str, dtype: torch.dtype, transfer: Transfer
) -> list[PendingEmbedding]:
    """One compact embedding per image of the batch, in `dtype` (float32 or bfloat16)."""
    return [PendingEmbedding(version, row) for row in transfer.to_host(arrays(features, dtype))]


def arrays(features: ImageFeatures, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """The embedding's arrays [B, h, w, C] of a batch, on its device."""
    parts = (features.trunk, *features.pvs)
    return tuple(part.permute(0, 2, 3, 1).to(dtype).contiguous() for part in parts)


def features_of(given: Sequence[torch.Tensor]) -> ImageFeatures:
    """The inverse of `arrays`, without a copy."""
    trunk, fine, middle, coarse = (part.permute(0, 3, 1, 2) for part in given)
    return ImageFeatures(trunk, (fine, middle, coarse))


def unpack(embedding: Embedding, version: str, transfer: Transfer) -> Features:
    """The embedding on the device, with a batch dimension of one.

    On the CPU the tensors share the embedding's memory. Raises StaleEmbedding for an embedding of another version.
    """
    if embedding.version != version:
        raise StaleEmbedding(f"embedding of {embedding.version!r} cannot be used by {version!r}")
    return Features(features_of([transfer.to_device([embedding.arrays[name]]) for name in _NAMES]))
