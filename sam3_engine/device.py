"""The device and the dtype that the model computes with, and the fingerprint of its weights."""

import hashlib

import torch
from torch import nn


def choose_device(name: str) -> torch.device:
    """The device: "auto" means CUDA where torch sees it, else the CPU. Raises ValueError for CUDA without CUDA."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} is not available: torch sees no CUDA device")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype: "float32", "bfloat16", or "auto" (bfloat16 on CUDA, float32 elsewhere). Raises ValueError."""
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" else "float32"
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in types:
        raise ValueError(f"dtype {name!r}: choose auto, {', '.join(types)}")
    return types[name]


def fingerprint(model: nn.Module) -> str:
    """Eight hex digits that differ between sets of weights: a digest of the model's small tensors."""
    digest = hashlib.blake2b(digest_size=4)
    for name, tensor in model.state_dict().items():
        if tensor.numel() <= 4096 and tensor.is_floating_point():
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
