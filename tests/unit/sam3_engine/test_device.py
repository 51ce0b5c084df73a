"""The number formats that a model gets on each device."""

from collections.abc import Iterator

import pytest
import torch

from sam3_engine import device
from sam3_engine.device import Precision, choose_device, choose_precision, set_tf32
from sam3_engine.engine import Engine
from sam3_engine.spec import SAM3, TINY, ModelSpec

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
EXACT = Precision(F32, F32, F32, F32)


@pytest.mark.parametrize("has_bfloat16", [True, False])
@pytest.mark.parametrize(
    ("name", "spec", "half"),
    [
        ("auto", TINY, False),
        ("auto", SAM3, True),
        ("bfloat16", TINY, True),
        ("float32", SAM3, False),
    ],
)
def test_on_a_cpu_large_models_use_half_precision_and_settings_override(
    monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool, name: str, spec: ModelSpec, half: bool
) -> None:
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: has_bfloat16)
    large = BF16 if has_bfloat16 else F32
    expected = Precision(BF16, large, large, F32) if half else EXACT
    assert choose_precision(name, CPU, spec) == expected


@pytest.mark.parametrize(("capability", "half"), [((7, 5), F16), ((8, 0), BF16), ((9, 0), BF16)])
@pytest.mark.parametrize("name", ["auto", "bfloat16"])
def test_cuda_devices_without_bfloat16_compute_in_float16_and_store_bfloat16(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], half: torch.dtype, name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_precision(name, CUDA, TINY) == Precision(BF16, half, half, half)
    assert choose_precision("float32", CUDA, SAM3) == EXACT


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="dtype 'float8': choose auto, float32, bfloat16"):
        choose_precision("float8", CPU, TINY)


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    with pytest.raises(ValueError, match="torch sees no CUDA device"):
        choose_device("cuda")


@pytest.fixture
def tf32_as_before() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_float32_is_not_rounded_to_tf32(tf32_as_before: None) -> None:
    set_tf32(Precision(BF16, BF16, BF16, BF16))
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    Engine.random(TINY, device="cpu", dtype="float32")
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_weights_are_stored_in_the_format_that_computes_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: True)
    model = Engine.random(TINY, device="cpu", dtype="bfloat16").model
    assert model.backbone.vision_backbone.trunk.blocks[0].mlp.fc1.weight.dtype == BF16
    assert model.backbone.vision_backbone.trunk.blocks[0].norm1.weight.dtype == F32
    assert model.backbone.language_backbone.resizer.weight.dtype == F32
    assert model.transformer.decoder.bbox_embed.layers[0].weight.dtype == F32
