"""Conversion between features on a device and compact embeddings in host memory."""

import warnings

import numpy as np
import numpy.typing as npt
import torch

from sam3_engine.embedding import Embedding
from sam3_engine.errors import StaleEmbedding
from sam3_engine.features import Features, ImageFeatures

_NAMES = ("trunk", "pvs_fine", "pvs_middle", "pvs_coarse")


def pack(features: ImageFeatures, version: str, dtype: torch.dtype) -> list[Embedding]:
    """One compact embedding per image of the batch, in `dtype` (float32 or bfloat16)."""
    tensors = [tensor.to(dtype).cpu() for tensor in (features.trunk, *features.pvs)]
    return [
        Embedding(
            version, {name: _to_numpy(tensor[row]) for name, tensor in zip(_NAMES, tensors, strict=True)}
        )
        for row in range(len(features.trunk))
    ]


def unpack(embedding: Embedding, version: str, device: torch.device) -> Features:
    """The embedding on the device, with a batch dimension of one.

    On the CPU the tensors share the embedding's memory. Raises StaleEmbedding for an embedding of another version.
    """
    if embedding.version != version:
        raise StaleEmbedding(f"embedding of {embedding.version!r} cannot be used by {version!r}")
    trunk, *pvs = (_to_tensor(embedding.arrays[name]).unsqueeze(0).to(device) for name in _NAMES)
    return Features(ImageFeatures(trunk, (pvs[0], pvs[1], pvs[2])))


def _to_numpy(tensor: torch.Tensor) -> npt.NDArray[np.generic]:
    tensor = tensor.contiguous().clone()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy()
    return tensor.numpy()


def _to_tensor(array: npt.NDArray[np.generic]) -> torch.Tensor:
    with warnings.catch_warnings():
        # Arrays from shared memory are read-only and torch says so; nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor
