from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sam3_engine.bundled import BUNDLED_TINY
from sam3_engine.checkpoint_files.inspect import inspect
from sam3_engine.checkpoint_files.names import PARTS
from sam3_engine.checkpoint_files.shapes import model_shapes
from sam3_engine.spec import SAM3
from tests.unit.sam3_engine.checkpoint_files.states import State
from tests.unit.sam3_engine.checkpoint_files.test_adapters import HS, factors, write
from tests.unit.sam3_engine.checkpoint_files.test_formats import multiplex, trained


def test_the_bundled_file() -> None:
    found = inspect(BUNDLED_TINY)
    assert (found.format, found.container, found.model, found.loads) == (
        "sam3-serve bundled",
        "safetensors",
        "tiny",
        True,
    )
    assert set(found.parts) <= set(PARTS)
    assert found.bytes == BUNDLED_TINY.stat().st_size


def test_one_set_of_weights_has_one_digest_in_every_format(official: State, tmp_path: Path) -> None:
    torch.save({"model": official}, tmp_path / "sam3.pt")
    torch.save(multiplex(official), tmp_path / "sam3.1_multiplex.pt")
    save_file({name: value.double() for name, value in official.items()}, tmp_path / "64.safetensors")
    first, second, third = (
        inspect(tmp_path / name) for name in ("sam3.pt", "sam3.1_multiplex.pt", "64.safetensors")
    )
    assert first.parts == third.parts
    for part in ("trunk", "text", "exemplars", "concepts", "concept masks", "clicks"):
        assert first.parts[part].digest == second.parts[part].digest, part
    assert second.video > 0
    assert len({*first.sha256.values(), *second.sha256.values(), *third.sha256.values()}) == 3


def test_another_value_is_another_digest_of_its_part_alone(official: State, tmp_path: Path) -> None:
    torch.save(official, tmp_path / "one.pt")
    name = "detector.backbone.vision_backbone.trunk.blocks.2.mlp.fc1.weight"
    changed = official[name].clone()
    changed[5, 7] += 1
    torch.save(official | {name: changed}, tmp_path / "other.pt")
    one, other = inspect(tmp_path / "one.pt"), inspect(tmp_path / "other.pt")
    assert {part for part in one.parts if one.parts[part] != other.parts[part]} == {"trunk"}


def test_a_fine_tune_loads_over_official_weights(official: State, tmp_path: Path) -> None:
    torch.save({"model": trained(official), "epoch": 1}, tmp_path / "checkpoint.pt")
    found = inspect(tmp_path / "checkpoint.pt")
    assert found.loads
    assert found.beside == ["epoch"]
    assert any(name.startswith("tracker.sam_mask_decoder.") for name in found.inherited)
    assert found.missing == []


def test_a_fine_tune_over_a_base_that_lacks_the_same_does_not_load(official: State, tmp_path: Path) -> None:
    torch.save({"model": trained(official)}, tmp_path / "checkpoint.pt")
    found = inspect(tmp_path / "checkpoint.pt", tmp_path / "checkpoint.pt")
    assert not found.loads
    assert found.error is not None
    assert "Neither does the base" in found.error
    assert any(name.startswith("tracker.sam_mask_decoder.") for name in found.missing)


def test_an_adapter(tmp_path: Path) -> None:
    found = inspect(write(tmp_path, factors(HS, 64, 64)))
    assert (found.format, found.model, found.loads) == ("peft LoRA adapter", "tiny", True)
    assert found.dtypes == {"float32": 2}


@pytest.mark.parametrize("content", [b"<html>", b"", b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_file_that_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sam3.pt").write_bytes(content)
    found = inspect(tmp_path / "sam3.pt")
    assert (found.format, found.loads, found.bytes) == (None, False, len(content))
    assert found.error


def test_without_digests_no_value_is_read(official: State, tmp_path: Path) -> None:
    torch.save(official, tmp_path / "sam3.pt")
    found = inspect(tmp_path / "sam3.pt", digests=False)
    assert found.sha256 == {}
    assert {part.digest for part in found.parts.values()} == {None}


def test_the_full_size_is_recognised_by_its_shapes(tmp_path: Path) -> None:
    """The test writes one small part of a full-size file: the other weights are inherited."""
    start = "detector.segmentation_head."
    part = {name: torch.zeros(shape) for name, shape in model_shapes(SAM3).items() if name.startswith(start)}
    save_file(part, tmp_path / "part.safetensors")
    found = inspect(tmp_path / "part.safetensors")
    assert (found.model, found.loads) == ("sam3", True)
