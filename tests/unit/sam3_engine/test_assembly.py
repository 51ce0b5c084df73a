"""The assembled model is the package's own: the same names and the same shapes, on any device."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from sam3 import model_builder

from sam3_engine.assembly import build_model, vocabulary_path
from sam3_engine.features import encode_images
from sam3_engine.spec import SAM3, TINY

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture
def without_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules are built on the meta device: shapes without 3.4 GB of weights."""
    # ViT reads values of this one while it is built, which meta tensors do not have.
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
    with torch.device("meta"):
        yield


def shapes(model: torch.nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def official(monkeypatch: pytest.MonkeyPatch, *, interactive: bool) -> Shapes:
    """The package's builder, kept from allocating its caches on CUDA."""

    def dropping(cls: type, *names: str) -> Any:
        return lambda **kwargs: cls(**{key: value for key, value in kwargs.items() if key not in names})

    monkeypatch.setattr(
        model_builder,
        "PositionEmbeddingSine",
        dropping(model_builder.PositionEmbeddingSine, "precompute_resolution"),
    )
    monkeypatch.setattr(
        model_builder,
        "TransformerDecoder",
        dropping(model_builder.TransformerDecoder, "resolution", "stride"),
    )
    # Its tracker enters CUDA autocast and never leaves it.
    monkeypatch.setattr(torch, "autocast", lambda **_: nullcontext())
    built = model_builder.build_sam3_image_model(
        bpe_path=str(vocabulary_path()),
        device="cpu",
        load_from_HF=False,
        enable_inst_interactivity=interactive,
    )
    return shapes(built)


@pytest.mark.parametrize("interactive", [True, False])
def test_the_official_spec_has_the_official_state_dict(
    monkeypatch: pytest.MonkeyPatch, without_memory: None, interactive: bool
) -> None:
    ours = shapes(build_model(SAM3, interactive=interactive, video=True))
    theirs = official(monkeypatch, interactive=interactive)
    assert ours == theirs
    assert list(ours) == list(theirs)
    if interactive:
        assert len(ours) == 1465


def test_the_official_spec_has_the_published_size(without_memory: None) -> None:
    model = build_model(SAM3, video=True)
    assert 850e6 < sum(one.numel() for one in model.parameters()) < 870e6


def test_tiny_is_the_same_architecture_and_small(without_memory: None) -> None:
    tiny = build_model(TINY)
    assert sum(one.numel() for one in tiny.parameters()) < 8e6

    def kinds(model: torch.nn.Module) -> set[str]:
        return {type(module).__name__ for module in model.modules()}

    # Dropout and stochastic depth are off in tiny; everything else is there.
    assert kinds(build_model(SAM3)) - kinds(tiny) <= {"Dropout", "DropPath", "Identity"}


def test_the_compact_embedding_is_small_at_full_size(without_memory: None) -> None:
    """The tensors kept of an image, against both pyramids as the package keeps them: bfloat16, shapes alone."""
    model = build_model(SAM3).eval()
    with torch.no_grad():
        features = encode_images(model, torch.empty(1, 3, SAM3.image_size, SAM3.image_size))
        pyramids = [*model.backbone.vision_backbone.convs, *model.backbone.vision_backbone.sam2_convs]
        kept_by_the_package = sum(make(features.trunk).numel() for make in pyramids[:3] + pyramids[4:7])
    compact = sum(tensor.numel() for tensor in (features.trunk, *features.pvs))
    assert compact * 2 <= 22e6
    assert compact < kept_by_the_package / 5
