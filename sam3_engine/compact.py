"""Conversion between features on a device and compact embeddings in host memory.

The model computes with channels last, and so are the arrays: the device converts numbers, and the host only receives
them.
"""

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
    parts = [part.permute(0, 2, 3, 1).to(dtype).contiguous() for part in (features.trunk, *features.pvs)]
    return [PendingEmbedding(version, row) for row in transfer.to_host(parts)]


def unpack(embedding: Embedding, version: str, transfer: Transfer) -> Features:
    """The embedding on the device, with a batch dimension of one.

    On the CPU the tensors share the embedding's memory. Raises StaleEmbedding for an embedding of another version.
    """
    if embedding.version != version:
        raise StaleEmbedding(f"embedding of {embedding.version!r} cannot be used by {version!r}")
    trunk, *pvs = (transfer.to_device([embedding.arrays[name]]).permute(0, 3, 1, 2) for name in _NAMES)
    return Features(ImageFeatures(trunk, (pvs[0], pvs[1], pvs[2])))
