"""`sam3-serve inspect`, as typed."""

import json
import os
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from sam3_engine.bundled import BUNDLED_TINY
from sam3_engine.checkpoint_files.checkpoint import open_checkpoint
from serve_app.cli.main import main


def typed(*words: str) -> Result:
    return CliRunner().invoke(main, ["inspect", *words], catch_exceptions=False)


def test_a_checkpoint_that_loads() -> None:
    done = typed(str(BUNDLED_TINY))
    assert done.exit_code == 0
    rows = [line.split(maxsplit=1) for line in done.output.splitlines()]
    told = dict(row for row in rows if row[0] not in ("part", "sha256"))
    assert told["format"] == "sam3-serve bundled (safetensors)"
    assert told["model"] == "tiny"
    assert told["loads"] == "yes"
    assert any(row[1].startswith("trunk: ") for row in rows)


def test_json_has_all() -> None:
    done = typed(str(BUNDLED_TINY), "--json", "--no-digests")
    found = json.loads(done.output)
    assert found["loads"] is True
    assert found["parts"]["trunk"]["tensors"] > 50
    assert found["sha256"] == {}


def test_another_models_file_is_named_in_one_line_and_the_exit_code(tmp_path: Path) -> None:
    names = ("image_encoder.patch_embed.proj.weight", "prompt_encoder.a", "mask_decoder.b")
    torch.save(dict.fromkeys(names, torch.ones(1)), tmp_path / "sam_vit_b.pth")
    done = typed(str(tmp_path / "sam_vit_b.pth"))
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].startswith("loads       no: ")
    assert "a checkpoint of SAM 1, not of SAM 3" in done.output


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").symlink_to(BUNDLED_TINY)
    assert typed(str(tmp_path), "--no-digests").exit_code == 0


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    done = typed(str(tmp_path / "nowhere"))
    assert done.exit_code == 1
    assert "no checkpoint at" in done.output


def test_the_base_is_an_option_or_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = open_checkpoint(BUNDLED_TINY).tensors
    state = {
        name: one.read() for name, one in tensors.items() if name.startswith("detector.segmentation_head.")
    }
    torch.save({"model": state}, tmp_path / "part.pt")
    part = str(tmp_path / "part.pt")
    assert typed(part, "--no-digests").exit_code == 0, "official weights are assumed below it"
    assert typed(part, "--no-digests", "--base-checkpoint", part).exit_code == 1
    monkeypatch.setenv("SAM3_BASE_CHECKPOINT", part)
    assert typed(part, "--no-digests").exit_code == 1


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_whose_name_is_no_utf_8(tmp_path: Path, ending: str) -> None:
    path = tmp_path / os.fsdecode(b"mine-\xff." + ending.encode())
    path.symlink_to(BUNDLED_TINY)
    done = typed(str(path), "--no-digests")
    assert done.exit_code == 1
    assert f"mine-\\udcff.{ending} cannot be read: its path holds bytes that are no UTF-8" in done.output


def test_shards_without_their_index(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").touch()
    assert "not their index" in typed(str(tmp_path)).output
