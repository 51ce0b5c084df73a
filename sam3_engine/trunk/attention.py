"""Attention by the fastest kernel that each device has for it."""

import contextlib
from collections.abc import Iterator
from functools import cache

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, activate_flash_attention_impl, sdpa_kernel

CHUNK = 128
"""Queries whose scores are computed at once on a CPU."""
LONG = 2048
"""Tokens from which on a CPU multiplies matrices faster than its fused kernel in half precision."""
FLASH = {9: "FA3", 10: "FA4"}
"""FlashAttention's version for a GPU, by the major number of its compute capability."""


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """softmax(q k' / sqrt(d)) v, all [B, heads, L, d]."""
    if q.device.type == "cpu" and q.dtype != torch.float32 and q.shape[2] >= LONG:
        return _in_chunks(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def _in_chunks(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention in chunks, for a CPU with matrix instructions in half precision: torch's fused kernel hardly uses
    these."""
    answer = torch.empty_like(q, memory_format=torch.contiguous_format)
    q, keys, v = q * q.shape[-1] ** -0.5, k.transpose(-1, -2).contiguous(), v.contiguous()
    for part, out in zip(q.split(CHUNK, dim=2), answer.split(CHUNK, dim=2), strict=True):
        out.copy_((part @ keys).softmax(-1) @ v)
    return answer


@contextlib.contextmanager
def kernels(device: torch.device) -> Iterator[None]:
    """Inside, `attend` may use these kernels on the device, the first that can in this order."""
    if device.type != "cuda":
        yield
        return
    with sdpa_kernel(backends(device), set_priority=True):
        yield


@cache
def backends(device: torch.device) -> list[SDPBackend]:
    """Torch's attention kernels for a GPU, fastest first; activates FlashAttention 3 or 4 where it is installed.

    On Hopper and later, cuDNN is faster than the FlashAttention 2 that torch contains. The kernel that saves memory
    also serves float32. The plain one comes last, as it needs 1.7 GB an image for its scores.
    """
    major, _ = torch.cuda.get_device_capability(device)
    order = [
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ]
    if major in FLASH and _activate(FLASH[major]):
        return order
    if major >= 9:
        order[:2] = order[1], order[0]
    return order


def _activate(version: str) -> bool:
    try:
        activate_flash_attention_impl(version)
    except (ImportError, RuntimeError):  # not installed, or for another torch
        return False
    return True
