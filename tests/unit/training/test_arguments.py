"""What the training commands refuse, in one sentence."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from sam3_engine.bundled import BUNDLED_TINY
from training import evaluate, evaluate_video, export, train, train_memory


@pytest.mark.parametrize(
    ("main", "given", "said"),
    [
        (train.main, ["--clicks", "--lessons", "0.2"], "not allowed with argument --clicks"),
        (train.main, ["--device", "abacus"], "'abacus' is no device of this machine"),
        (train.main, ["--device", "cuda:7"], "'cuda:7' is no device of this machine"),
        (train.main, ["--steps", "0"], "0 is less than 1"),
        (train.main, ["--minutes", "0"], "0 is not above zero"),
        (train.main, ["--minutes", "nan"], "nan is not above zero"),
        (train.main, ["--rate", "-1"], "-1 is not above zero"),
        (train.main, ["--lessons", "2"], "2 is not between 0 and 1"),
        (train.main, ["--port", "65536"], "65536 is more than 65535"),
        (train.main, ["--scenes", "many"], "invalid whole number value: 'many'"),
        (train.main, ["--folder", f"{__file__}/runs"], "is not a folder"),
        (train_memory.main, ["--frames", "1"], "1 is less than 2"),
        (train_memory.main, ["--out", "no/such/folder/x"], "no/such/folder/x is a folder, or in none"),
        (train_memory.main, ["--weights", __file__], "is no safetensors file"),
        (evaluate.main, ["--scenes", "0"], "0 is less than 1"),
        (evaluate.main, ["--json", "no/such/folder/x"], "no/such/folder/x is a folder, or in none"),
        (evaluate_video.main, ["--clips", "0"], "0 is less than 1"),
        (train_memory.main, ["--weights", "no/such/file"], "no/such/file is not a file"),
        (evaluate_video.main, ["--weights", "."], ". is not a file"),
        (export.main, [], "runs/tiny/state.pt is not a file"),
        (export.main, ["--state", "no/such/state.pt"], "no/such/state.pt is not a file"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_starts(
    main: Callable[[], None],
    given: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["command", *given])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_weights_of_other_shapes_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "inst_interactive_predictor.model.maskmem_tpos_enc"
    weights = load_file(BUNDLED_TINY)
    weights[name] = weights[name][:2].contiguous()
    other = tmp_path / "other.safetensors"
    save_file(weights, other)
    monkeypatch.setattr(sys, "argv", ["command", "--weights", str(other)])
    with pytest.raises(SystemExit) as end:
        evaluate_video.main()
    assert end.value.code == 2
    assert name in capsys.readouterr().err
