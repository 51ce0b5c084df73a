"""Checkpoints of a whole model, by the ways in which they reach an engine."""

from pathlib import Path

import pytest
import torch

from sam3_engine.assembly import build_model
from sam3_engine.bundled import TOKEN_TABLE, load_bundled, save_bundled
from sam3_engine.engine import Engine
from sam3_engine.errors import WrongCheckpoint
from sam3_engine.spec import TINY
from sam3_engine.weights import COMPUTED, apply

INTERACTIVE = "inst_interactive_predictor.model."


def official_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        f"tracker.{key.removeprefix(INTERACTIVE)}"
        if key.startswith(INTERACTIVE)
        else f"detector.{key}": value
        for key, value in state.items()
    }


def test_an_official_file_reaches_the_engine(random_engine: Engine, tmp_path: Path) -> None:
    state = random_engine.model.state_dict()
    torch.save({"model": official_names(state)}, tmp_path / "sam3.pt")
    loaded = Engine.load("tiny", checkpoint=str(tmp_path), device="cpu")
    assert loaded.embedding_version == random_engine.embedding_version
    assert all(torch.equal(value, state[key]) for key, value in loaded.model.state_dict().items())


def test_the_file_of_another_model_is_refused(random_engine: Engine, tmp_path: Path) -> None:
    state = official_names(random_engine.model.state_dict())
    del state["detector.dot_prod_scoring.prompt_proj.weight"]
    torch.save(state, tmp_path / "sam3.pt")
    with pytest.raises(WrongCheckpoint, match=r"dot_prod_scoring\.prompt_proj\.weight"):
        Engine.load("tiny", checkpoint=str(tmp_path / "sam3.pt"), device="cpu")


def test_a_bundled_file_holds_the_whole_model_in_ten_megabytes(random_engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    state = random_engine.model.state_dict()
    table = state[TOKEN_TABLE][:1].repeat(len(state[TOKEN_TABLE]), 1)
    table[100:200] = state[TOKEN_TABLE][100:200]
    state = {**state, TOKEN_TABLE: table}
    save_bundled(state, range(100, 200), path)
    assert path.stat().st_size < 10e6
    model = build_model(TINY)
    assert apply(model, load_bundled(path)) == []
    for key, value in model.state_dict().items():
        expected = state[key] if key.endswith(COMPUTED) else state[key].half().float()
        assert torch.equal(value, expected), key


def test_a_checkpoint_survives_reading_back(random_engine: Engine, tmp_path: Path) -> None:
    state = random_engine.model.state_dict()
    torch.save(state, tmp_path / "own.pt")
    loaded = Engine.load("tiny", checkpoint=str(tmp_path / "own.pt"), device="cpu")
    assert all(torch.equal(value, state[key]) for key, value in loaded.model.state_dict().items())


@pytest.mark.parametrize("base", [None, "base.pt"])
def test_a_fine_tune_reaches_the_engine_over_its_base(
    random_engine: Engine, tmp_path: Path, base: str | None
) -> None:
    """A fine-tune without another base is laid over the bundled weights."""
    state = random_engine.model.state_dict()
    torch.save(
        {key: value + 1 if value.is_floating_point() else value for key, value in state.items()},
        tmp_path / "base.pt",
    )
    mine = {key: value for key, value in state.items() if key.startswith("backbone.vision_backbone.trunk.")}
    torch.save({"model": mine, "optimizer": {}}, tmp_path / "checkpoint.pt")
    where = base and str(tmp_path / base)
    loaded = Engine.load("tiny", checkpoint=str(tmp_path / "checkpoint.pt"), base=where, device="cpu")
    below = Engine.load("tiny", checkpoint=where, device="cpu")
    for key, value in loaded.model.state_dict().items():
        assert torch.equal(value, mine.get(key, below.model.state_dict()[key])), key
    assert loaded.embedding_version != below.embedding_version


def test_one_file_gives_one_version_in_every_process(random_engine: Engine, tmp_path: Path) -> None:
    """The weights that a file leaves out must not be random."""
    unused = ("geometry_encoder.points_", "backbone.vision_backbone.convs.3.", f"{INTERACTIVE}maskmem_")
    state = {
        key: value for key, value in random_engine.model.state_dict().items() if not key.startswith(unused)
    }
    torch.save(state, tmp_path / "own.pt")
    one, other = (Engine.load("tiny", checkpoint=str(tmp_path / "own.pt"), device="cpu") for _ in range(2))
    assert one.embedding_version == other.embedding_version
