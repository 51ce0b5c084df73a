"""The choice of an attention kernel for each device, and each kernel's answers."""

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend

from sam3_engine.trunk import attention

GPU = torch.device("cuda:0")


@pytest.mark.parametrize("length", [attention.LONG, attention.LONG + 100], ids=["whole chunks", "a rest"])
def test_attention_in_chunks_is_attention(length: int) -> None:
    q, k, v = torch.randn(3, 1, 2, length, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    wanted = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    found = attention.attend(q, k, v).float()
    assert float((found - wanted).norm() / wanted.norm()) < 0.01


def test_long_attention_in_half_precision_is_done_in_chunks_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[torch.dtype] = []

    def chunks(q: torch.Tensor, _k: torch.Tensor, _v: torch.Tensor) -> torch.Tensor:
        calls.append(q.dtype)
        return q

    monkeypatch.setattr(attention, "_in_chunks", chunks)
    for dtype in (torch.float32, torch.bfloat16):
        for length in (16, attention.LONG):
            x = torch.zeros(1, 1, length, 8, dtype=dtype)
            attention.attend(x, x, x)
    assert calls == [torch.bfloat16]


@pytest.fixture
def no_choice() -> Iterator[None]:
    """Forget the kernel chosen for a GPU, before and after."""
    attention.backends.cache_clear()
    yield
    attention.backends.cache_clear()


@pytest.mark.parametrize(
    ("capability", "installed", "first"),
    [
        ((8, 0), None, SDPBackend.FLASH_ATTENTION),
        ((9, 0), None, SDPBackend.CUDNN_ATTENTION),
        ((9, 0), "FA3", SDPBackend.FLASH_ATTENTION),
        ((10, 0), "FA4", SDPBackend.FLASH_ATTENTION),
        ((10, 0), "FA3", SDPBackend.CUDNN_ATTENTION),
        ((12, 0), None, SDPBackend.CUDNN_ATTENTION),
    ],
)
def test_the_first_kernel_suits_the_gpu_and_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
    no_choice: None,
    capability: tuple[int, int],
    installed: str | None,
    first: SDPBackend,
) -> None:
    def activate(version: str) -> None:
        if version != installed:
            raise ModuleNotFoundError(version)

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(attention, "activate_flash_attention_impl", activate)
    order = attention.backends(GPU)
    assert order[0] == first
    assert order[-1] == SDPBackend.MATH
    assert len(set(order)) == 4


def test_a_cpu_keeps_torchs_own_choice() -> None:
    before = torch.nn.attention._cur_sdpa_kernel_backends(with_priority=True)
    with attention.kernels(torch.device("cpu")):
        assert torch.nn.attention._cur_sdpa_kernel_backends(with_priority=True) == before
