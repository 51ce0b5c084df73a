from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sam3_engine.bundled import TOKEN_TABLE, VOCABULARY, load_bundled, save_bundled
from sam3_engine.errors import CheckpointError, WrongCheckpoint

IDS = [5, 3, 49407, 3]


def state_dict() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(4, 6, generator=generator)
    table = torch.randn(1, 8, generator=generator).repeat(VOCABULARY, 1)
    table[IDS] = torch.randn(len(IDS), 8, generator=generator)
    return {
        TOKEN_TABLE: table,
        "backbone.weight": shared,
        "backbone.tied": shared,
        "backbone.strided": shared.T,
        "steps": torch.tensor(7),
        "trunk.freqs_cis": torch.ones(3, dtype=torch.complex64),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "below" / "tiny.safetensors"


def test_weights_survive_in_half_precision(path: Path) -> None:
    state = state_dict()
    save_bundled(state, IDS, path)
    loaded = load_bundled(path)
    assert set(loaded) == set(state) - {"trunk.freqs_cis"}
    for key in ("backbone.weight", "backbone.tied", "backbone.strided"):
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], state[key].half().float())
    assert torch.equal(loaded["steps"], state["steps"])


def test_the_token_table_survives_with_its_shared_row(path: Path) -> None:
    state = state_dict()
    save_bundled(state, IDS, path)
    table = load_bundled(path)[TOKEN_TABLE]
    assert table.dtype == torch.float32
    assert torch.equal(table, state[TOKEN_TABLE].half().float())


def test_rows_outside_the_vocabulary_must_be_equal(path: Path) -> None:
    state = state_dict()
    state[TOKEN_TABLE][100] += 1
    with pytest.raises(ValueError, match="must be the same"):
        save_bundled(state, IDS, path)
    with pytest.raises(ValueError, match="must be the same"):
        save_bundled(state_dict(), range(VOCABULARY), path)


def test_saving_what_was_loaded_changes_nothing(path: Path, tmp_path: Path) -> None:
    save_bundled(state_dict(), IDS, path)
    again = tmp_path / "again.safetensors"
    save_bundled(load_bundled(path), IDS, again)
    assert again.read_bytes() == path.read_bytes()


def test_the_file_is_small_and_alone(path: Path) -> None:
    save_bundled(state_dict(), IDS, path)
    assert path.stat().st_size < 4000, "not the 800 kB of the whole table"
    assert list(path.parent.iterdir()) == [path]


def test_the_state_is_not_changed(path: Path) -> None:
    state = state_dict()
    copies = {key: value.clone() for key, value in state.items()}
    save_bundled(state, IDS, path)
    assert all(torch.equal(state[key], copies[key]) for key in copies)


@pytest.mark.parametrize("ids", [[], [-1], [VOCABULARY]])
def test_token_ids_outside_the_vocabulary(path: Path, ids: list[int]) -> None:
    with pytest.raises(ValueError, match="token ids"):
        save_bundled(state_dict(), ids, path)
    assert not path.exists()


@pytest.mark.parametrize("value", [1e6, float("nan"), float("inf")])
def test_values_that_half_precision_cannot_hold(path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="big has values"):
        save_bundled(state_dict() | {"big": torch.tensor([value])}, IDS, path)
    assert not path.exists()


def test_a_state_without_the_token_table(path: Path) -> None:
    with pytest.raises(ValueError, match="token_embedding"):
        save_bundled({"weight": torch.ones(1)}, IDS, path)


def test_no_file(path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_bundled(path)


def test_not_a_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"something else entirely")
    with pytest.raises(WrongCheckpoint, match="no safetensors file"):
        load_bundled(path)


def test_a_safetensors_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "x"
    save_file({"weight": torch.ones(1)}, path)
    with pytest.raises(WrongCheckpoint, match="not a bundled checkpoint"):
        load_bundled(path)
