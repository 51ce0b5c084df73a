"""A GPU node that cannot hold the model says why, and when it gives up."""

import shutil
import subprocess
from pathlib import Path

import pytest

from serve_app.node_check import NotReady, built_for, check_driver, driver_supports, main, wait_for


def test_a_driver_of_an_older_major_version_is_refused_with_the_one_that_is_needed() -> None:
    with pytest.raises(
        NotReady, match=r"CUDA 13\.2.*knows CUDA 12\.8.*driver 580.*build the image for CUDA 12"
    ):
        check_driver("13.2", (12, 8))


@pytest.mark.parametrize("supported", [(13, 0), (13, 2), (14, 0)])
def test_a_driver_of_the_same_or_a_newer_major_version_is_taken(supported: tuple[int, int]) -> None:
    assert "torch: CUDA 13.2" in check_driver("13.2", supported)


def test_nothing_is_claimed_where_there_is_nothing_to_compare() -> None:
    assert "no GPU" in check_driver(None, (12, 8))
    assert "not checked" in check_driver("13.2", None)


@pytest.mark.parametrize(
    ("line", "expected"), [("cuda: Optional[str] = '13.2'", "13.2"), ("cuda = None", None)]
)
def test_the_version_of_torch_is_read_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: str | None
) -> None:
    package = tmp_path / "pretended"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('not to be imported')")
    (package / "version.py").write_text(f"__version__ = '2.15.0'\n{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert built_for("pretended") == expected
    assert built_for("not_there_at_all") is None


def test_the_installed_torch_is_understood() -> None:
    import torch

    assert built_for() == torch.version.cuda


@pytest.mark.skipif(not shutil.which("cc"), reason="a C compiler makes the library of a driver")
def test_a_drivers_version_is_asked_of_its_library(tmp_path: Path) -> None:
    source, library = tmp_path / "driver.c", tmp_path / "libcuda.so.1"
    source.write_text("int cuDriverGetVersion(int *version) { *version = 12080; return 0; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", library], check=True)
    assert driver_supports(str(library)) == (12, 8)
    assert driver_supports(str(tmp_path / "missing.so")) is None


def test_a_file_that_does_not_come_ends_the_wait_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "sam3.pt.incomplete").touch()
    with pytest.raises(NotReady, match=r"sam3\.pt was not there within 0 s.*holds sam3\.pt\.incomplete"):
        wait_for(tmp_path / "sam3.pt", 0)
    with pytest.raises(NotReady, match="is missing"):
        wait_for(tmp_path / "nowhere" / "sam3.pt", 0)


def test_an_empty_file_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "sam3.pt").touch()
    with pytest.raises(NotReady):
        wait_for(tmp_path / "sam3.pt", 0)


def test_the_program_answers_with_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = tmp_path / "sam3.pt"
    there.write_bytes(b"weights")
    assert main(["--driver", "--weights", str(there)]) == 0
    assert "7 bytes" in capsys.readouterr().out
    assert main(["--weights", str(tmp_path / "other.pt"), "--within", "0"]) == 1
    assert "not ready: " in capsys.readouterr().err


def test_a_failure_is_told_before_the_time_in_which_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held: list[tuple[float, str]] = []
    monkeypatch.setattr("time.sleep", lambda seconds: held.append((seconds, capsys.readouterr().err)))
    assert main(["--hold", "300", "--weights", str(tmp_path / "other.pt"), "--within", "0"]) == 1
    ((seconds, told),) = held
    assert seconds == 300
    assert "other.pt was not there" in told
    (tmp_path / "other.pt").write_bytes(b"weights")
    assert main(["--hold", "300", "--weights", str(tmp_path / "other.pt")]) == 0
    assert len(held) == 1
