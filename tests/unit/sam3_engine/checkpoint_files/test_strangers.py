"""An error names the kind of a file that is no checkpoint of SAM 3, and no code in the file runs."""

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sam3_engine.checkpoint_files.checkpoint import open_checkpoint
from sam3_engine.errors import CheckpointError, WrongCheckpoint
from tests.unit.sam3_engine.checkpoint_files.states import State

ONE = torch.ones(1)
SAM1 = (
    "image_encoder.patch_embed.proj.weight",
    "prompt_encoder.no_mask_embed.weight",
    "mask_decoder.iou_token.weight",
)
SAM2 = ("image_encoder.trunk.pos_embed", "sam_mask_decoder.iou_token.weight", "memory_attention.norm.weight")
YOLO = tuple(f"model.{layer}.conv.weight" for layer in range(24))


def header(text: str) -> bytes:
    """A safetensors file of a header alone."""
    return len(text).to_bytes(8, "little") + text.encode()


def refused(path: Path) -> str:
    with pytest.raises(WrongCheckpoint) as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value), "one line"
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "what"), [(SAM1, "SAM 1"), (SAM2, "SAM 2"), (YOLO, "YOLO"), (("fc.weight",), "holds fc.weight")]
)
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("prefix", ["", "module.", "model.module."])
def test_another_models_file(
    tmp_path: Path, names: tuple[str, ...], what: str, wrapped: bool, prefix: str
) -> None:
    state = {prefix + name: ONE for name in names}
    what = what.replace("holds ", f"holds {prefix}")
    torch.save({"model": state} if wrapped else state, tmp_path / "file.pt")
    assert what in refused(tmp_path / "file.pt")


def test_another_model_of_transformers(tmp_path: Path) -> None:
    save_file({"vision_encoder.backbone.layers.0.layer_norm1.weight": ONE}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam3_lite_text"}))
    assert "transformers' sam3_lite_text model" in refused(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3450062241\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"\n<html>", "a web page"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x08\x07\x12\x07pytorch", "ONNX"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd\x24", "Zstandard"),
        (b"%PDF-1.7", "PDF"),
        (b"Entry not found", "an answer of the Hub"),
        (b"Access to model facebook/sam3 is restricted.", "needs a login"),
        (b'{"error": "Repository not found"}', "an error of a server"),
        (header('{"a":' * 40_000 + "1" + "}" * 40_000), "header is broken"),
        (header('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, Infinity]}}'), "header is broken"),
        (header('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8.5]}}'), "header is broken"),
        (b"x" * 257 + b"ustar", "tar archive"),
        (b"not weights", "no checkpoint"),
        (b"\0" * 5000, "no checkpoint"),
        (b"\x80\x02}q\x00.", "no checkpoint"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "sam3.pt"
    path.write_bytes(content)
    assert what in refused(path)


def test_a_zip_of_other_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sam3.pt", "w") as archive:
        archive.writestr("holiday/beach.jpg", "")
    assert "a zip archive of other files: holiday/beach.jpg" in refused(tmp_path / "sam3.pt")


def test_a_torchscript_program(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "sam3.pt", "w") as archive:
        archive.writestr("sam3/code/__torch__.py", "raise SystemExit")
        archive.writestr("sam3/data.pkl", "")
    assert "TorchScript" in refused(tmp_path / "sam3.pt")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("container", ["pt", "safetensors"])
def test_a_part_of_a_download(official: State, tmp_path: Path, share: float, container: str) -> None:
    path = tmp_path / f"sam3.{container}"
    torch.save(official, path) if container == "pt" else save_file(official, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "only a part of a download" in refused(path)


def test_a_part_of_a_safetensors_header(official: State, tmp_path: Path) -> None:
    path = tmp_path / "sam3.safetensors"
    save_file(official, path)
    path.write_bytes(path.read_bytes()[:600])
    assert "only a part of a download" in refused(path)


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("this must never run",)


def test_code_in_a_bare_pickle_is_told_without_the_advice_to_run_it(tmp_path: Path) -> None:
    (tmp_path / "sam3.pt").write_bytes(pickle.dumps(Hostile()))
    said = refused(tmp_path / "sam3.pt")
    assert "code in a file is never run" in said
    assert "weights_only" not in said


@pytest.mark.parametrize("length", [0, 1, 2**63, 2**64 - 1])
def test_a_length_that_no_header_has(tmp_path: Path, length: int) -> None:
    (tmp_path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b'{"a": {}}')
    assert "header is broken" in refused(tmp_path / "model.safetensors")


def test_names_that_would_steer_a_terminal_are_escaped(tmp_path: Path) -> None:
    save_file({"a\x1b[31m": ONE}, tmp_path / "model.safetensors")
    assert "it holds a\\x1b[31m" in refused(tmp_path / "model.safetensors")
    torch.save({"a\ud800": ONE}, tmp_path / "sam3.pt")
    assert "it holds a\\ud800" in refused(tmp_path / "sam3.pt")


@pytest.mark.parametrize("beside", [False, True])
def test_code_never_runs(
    official: State, tmp_path: Path, capsys: pytest.CaptureFixture[str], beside: bool
) -> None:
    torch.save(
        {"model": official, "extra": Hostile()} if beside else {"model": Hostile()}, tmp_path / "sam3.pt"
    )
    said = refused(tmp_path / "sam3.pt")
    assert "more than tensors" in said
    assert "never run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [[ONE], {}, ONE, {"model": {}}, {"step": 3}])
def test_something_else_than_tensors_by_name(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "sam3.pt")
    assert "no tensors" in refused(tmp_path / "sam3.pt")


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.pt", tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read"):
            open_checkpoint(path)


@pytest.mark.parametrize(
    ("index", "what"),
    [
        ("{}", "no index"),
        ("[]", "no index"),
        ("nonsense", "no index"),
        ("[" * 100_000, "no index"),
        ('{"weight_map": {"a": "model.safetensors.index.json"}}', "files that hold no tensors"),
        ('{"weight_map": {"a": "absent.safetensors"}}', "these are not beside it: absent.safetensors"),
        ('{"weight_map": {"a": "../secret.safetensors"}}', "files in other folders"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "files in other folders"),
    ],
)
def test_a_broken_index(tmp_path: Path, index: str, what: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert what in refused(tmp_path / "model.safetensors.index.json")
