"""`make gpu-check` whole, on a CPU and in small: every part of it runs, and its report says that all checks held."""

import json
from pathlib import Path

import pytest

from bench.gpu import check


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.timing.LEAST", 1)
    monkeypatch.setattr(check, "COUNTS", (1, 2))


def test_a_check_on_the_cpu_holds_and_leaves_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        check.main(["--device", "cpu", *("--model", "tiny", "--seconds", "0.01"), "--out", str(tmp_path)])
        == 0
    ), capsys.readouterr().out
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["held"] is True
    assert {"torch", "sam3", "CUDA"} <= set(report["machine"]["versions"])
    assert report["machine"]["date"]
    assert len(report["verdicts"]) >= 8
    measured = {figure["what"] for figure in report["figures"]}
    assert {
        "encode",
        "encode, arithmetic alone",
        "one click",
        "our trunk, bfloat16",
        "the package as in its README: encode",
    } <= measured
    assert all(figure["seconds"] > 0 for figure in report["figures"])
    text = (tmp_path / "gpu.md").read_text()
    assert "all checks held" in text
    assert "addmm" in text, "the profile of a batch"
