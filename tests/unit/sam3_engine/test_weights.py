from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sam3_engine.errors import CheckpointError, WrongCheckpoint
from sam3_engine.weights import apply, load_state, model_keys, weights_digest


class Model(nn.Module):
    """Named like the parts of Sam3Image."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(3, 4)
        self.inst_interactive_predictor = nn.Module()
        self.inst_interactive_predictor.model = nn.Linear(2, 2)
        self.register_buffer("freqs_cis", torch.arange(3.0))


def official(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's tensors as the official file names them, moved by one so that loading shows."""
    interactive = "inst_interactive_predictor.model."
    return {
        f"tracker.{key.removeprefix(interactive)}"
        if key.startswith(interactive)
        else f"detector.{key}": value + 1
        for key, value in model.state_dict().items()
    }


def save(content: object, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_an_official_checkpoint_is_loaded(tmp_path: Path, wrapped: bool, zipped: bool) -> None:
    model = Model()
    state = official(model) | {"tracker.memory_encoder.weight": torch.zeros(5)}
    content = {"model": state, "epoch": torch.tensor(1)} if wrapped else state
    path = save(content, tmp_path / "sam3.pt", _use_new_zipfile_serialization=zipped)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    unused = apply(model, load_state(path))
    assert unused == ["inst_interactive_predictor.model.memory_encoder.weight"]
    assert all(torch.equal(value, before[key] + 1) for key, value in model.state_dict().items())


def test_a_state_dict_with_the_models_names_is_loaded(tmp_path: Path) -> None:
    model, other = Model(), Model()
    assert apply(model, load_state(save(other.state_dict(), tmp_path / "own.pt"))) == []
    assert torch.equal(model.backbone.weight, other.backbone.weight)


def test_names_are_those_of_the_packages_loader() -> None:
    one = torch.ones(1)
    state = {"detector.backbone.weight": one, "tracker.no_mem_embed": one, "something.else": one}
    assert set(model_keys(state)) == {"backbone.weight", "inst_interactive_predictor.model.no_mem_embed"}


def test_half_precision_goes_into_a_float_model() -> None:
    model = Model()
    apply(model, {key: value.half() for key, value in official(model).items()})
    assert model.backbone.weight.dtype == torch.float32


def test_computed_buffers_may_be_left_out() -> None:
    model = Model()
    state = official(model)
    del state["detector.freqs_cis"]
    apply(model, state)
    assert isinstance(model.freqs_cis, torch.Tensor)
    assert torch.equal(model.freqs_cis, torch.arange(3.0))


def test_missing_keys_are_named_and_nothing_is_changed() -> None:
    model = Model()
    state = official(model)
    del state["detector.backbone.bias"], state["tracker.weight"]
    before = model.backbone.weight.clone()
    with pytest.raises(
        WrongCheckpoint, match=r"lacks 2 of the model's 5 tensors: backbone\.bias, inst_interactive"
    ):
        apply(model, state)
    assert torch.equal(model.backbone.weight, before)


def test_only_the_first_keys_are_named() -> None:
    with pytest.raises(
        WrongCheckpoint, match=r"lacks 20 of .*: 0\.weight, 0\.bias, 1\.weight, 1\.bias, \.\.\.\."
    ):
        apply(nn.Sequential(*[nn.Linear(1, 1) for _ in range(10)]), {})


def test_other_shapes_are_named_and_nothing_is_changed() -> None:
    model = Model()
    state = official(model) | {"detector.backbone.weight": torch.zeros(7, 3)}
    before = model.backbone.bias.clone()
    with pytest.raises(WrongCheckpoint, match=r"backbone\.weight is \[7, 3\] instead of \[4, 3\]"):
        apply(model, state)
    assert torch.equal(model.backbone.bias, before)


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("this must never run",)


def test_code_in_a_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WrongCheckpoint, match="more than tensors"):
        load_state(save({"model": Hostile()}, tmp_path / "sam3.pt"))
    assert "never run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"not weights", b"PK\x03\x04 not a zip", b"\x80\x02}q\x00.", b"\0" * 5000]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sam3.pt"
    path.write_bytes(content)
    with pytest.raises(WrongCheckpoint, match=r"sam3\.pt"):
        load_state(path)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    path = save({"weight": torch.randn(1000)}, tmp_path / "sam3.pt")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(WrongCheckpoint, match=r"not all of it|more than tensors"):
        load_state(path)


def test_a_git_lfs_pointer_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "sam3.pt"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3450062241\n")
    with pytest.raises(WrongCheckpoint, match="git lfs pull"):
        load_state(path)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {}, torch.zeros(2), {"model": {}}, {"step": 3}])
def test_something_else_than_tensors_by_name(tmp_path: Path, content: object) -> None:
    with pytest.raises(WrongCheckpoint, match="no tensors"):
        load_state(save(content, tmp_path / "sam3.pt"))


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_state(tmp_path / "nowhere.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_state(tmp_path)


def large() -> nn.Module:
    torch.manual_seed(0)
    model = Model()
    model.matrix = nn.Linear(300, 300)
    model.table = nn.Parameter(torch.ones(70, 70, dtype=torch.bfloat16))
    model.register_buffer("steps", torch.tensor(3))
    return model


@pytest.mark.parametrize("name", [name for name in large().state_dict() if name != "freqs_cis"])
@pytest.mark.parametrize("place", [0, -1])
def test_one_changed_value_of_any_tensor_is_another_version(name: str, place: int) -> None:
    model = large()
    before = weights_digest(model.state_dict())
    assert before == weights_digest(large().state_dict())
    with torch.no_grad():
        model.state_dict()[name].reshape(-1)[place] += 1
    assert weights_digest(model.state_dict()) != before


def test_computed_buffers_are_not_part_of_the_version() -> None:
    model = large()
    before = weights_digest(model.state_dict())
    model.state_dict()["freqs_cis"].add_(1)
    assert weights_digest(model.state_dict()) == before
