"""The device that a model runs on, and the number formats that it computes with."""

from dataclasses import dataclass

import torch

from sam3_engine.spec import ModelSpec, embedding_dtype

AMPERE = (8, 0)
"""Compute capability from which CUDA devices compute in bfloat16. Below it bfloat16 is emulated."""


@dataclass(frozen=True, slots=True)
class Precision:
    """Number formats. embedding: of embeddings' arrays, float32 or bfloat16. trunk: of an encode's matrix products.
    memories: of those by which a video's frame attends to memories. decoders: of the matrices of everything else. The
    last three may also be float16."""

    embedding: torch.dtype
    trunk: torch.dtype
    memories: torch.dtype
    decoders: torch.dtype


def choose_device(name: str) -> torch.device:
    """The device: "auto" means CUDA where torch sees it, else the CPU. Raises ValueError for CUDA without CUDA."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} is not available: torch sees no CUDA device")
    return device


def choose_precision(name: str, device: torch.device, spec: ModelSpec) -> Precision:
    """The formats for a setting (see `spec.embedding_dtype`). Raises ValueError for another name.

    With bfloat16 embeddings the arithmetic is bfloat16 on CUDA devices that have it, and float16 on older ones. On a
    CPU that has bfloat16 the trunk and the attention to memories use it: they are most of the work. All else is float32
    on every CPU: the matrices are small, and rounding them moves scores. With float32 everything is float32.
    """
    stored = embedding_dtype(name, spec, encode_on_gpu=device.type == "cuda")
    if stored == "float32":
        return Precision(torch.float32, torch.float32, torch.float32, torch.float32)
    if device.type == "cuda":
        half = torch.bfloat16 if torch.cuda.get_device_capability(device) >= AMPERE else torch.float16
        return Precision(torch.bfloat16, half, half, half)
    large = torch.bfloat16 if cpu_has_bfloat16() else torch.float32
    return Precision(torch.bfloat16, large, large, torch.float32)


def cpu_has_bfloat16() -> bool:
    """True on a CPU that multiplies bfloat16 matrices in hardware (AVX512-BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def set_tf32(precision: Precision) -> None:
    """Let float32 matrix products on CUDA round to TF32 beside half precision, not where everything is to be float32.

    The choice holds for the whole process. Importing the `sam3` package switches TF32 on; this is the only other place.
    """
    allowed = precision.trunk != torch.float32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
