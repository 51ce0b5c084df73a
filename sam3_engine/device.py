"""The device and the dtype that the model computes with."""

import torch


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
