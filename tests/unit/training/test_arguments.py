"""What the training commands refuse, in one sentence."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from training import evaluate_video, export, train, train_memory


@pytest.mark.parametrize(
    ("main", "given", "said"),
    [
        (train.main, ["--clicks", "--lessons", "0.2"], "not allowed with argument --clicks"),
        (train.main, ["--device", "abacus"], "'abacus' is no device of this machine"),
        (train.main, ["--device", "cuda:7"], "'cuda:7' is no device of this machine"),
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
