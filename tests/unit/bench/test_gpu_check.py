"""`make gpu-check` works, on a CPU and in small; with a GPU, its checks hold there."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch

from bench.gpu import check, right, tracking
from bench.gpu.setting import Setting, machine, setting
from harness.machine import ROOT
from sam3_engine.engine import ConceptDetections, Engine
from sam3_engine.tracking.sessions import Answer, Turn, advance

SMALL = ["--model", "tiny", "--seconds", "0.01"]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.timing.LEAST", 1)
    monkeypatch.setattr(check, "COUNTS", (1, 2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "run",
    [
        right.with_graphs_as_without,
        right.encodes_with_graphs_as_without,
        right.without_waiting,
        right.in_several_threads,
    ],
)
def test_answers_hold_on_a_gpu(run: type) -> None:
    verdicts = list(run(setting("cuda", "tiny", 0.1)))
    assert all(verdict.held for verdict in verdicts), verdicts


def test_an_error_in_a_part_is_reported_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_asked: object) -> list[right.Verdict]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def other(_asked: object) -> list[right.Verdict]:
        return [right.Verdict("threads", False, "1.0")]

    monkeypatch.setattr(right, "with_graphs_as_without", broken)
    monkeypatch.setattr(right, "in_several_threads", other)
    names = ("graphs", "threads")
    every = check.parts
    monkeypatch.setattr(
        check, "parts", lambda *given: {name: part for name, part in every(*given).items() if name in names}
    )
    assert check.main(["--device", "cpu", *SMALL, "--out", str(tmp_path)]) == 1
    text = (tmp_path / "gpu.md").read_text()
    assert "NOT all checks held" in text
    assert "illegal memory access" in text
    assert json.loads((tmp_path / "gpu.json").read_text())["verdicts"][0]["held"] is False
    assert "NOT all" in capsys.readouterr().out


@pytest.mark.parametrize(("condition", "held"), [("1 + 1 == 2", True), ("1 + 1 == 3", False)])
def test_the_marked_tests_are_run_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, condition: str, held: bool
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # the machine need not have any
    report = check.Report(machine(setting("cpu", "tiny", 0.01)), "tiny")
    folder = tmp_path / "tests/unit"
    folder.mkdir(parents=True)
    (folder / "test_a.py").write_text(
        "import pytest\n"
        f"@pytest.mark.gpu\ndef test_it() -> None:\n    assert {condition}\n"
        "def test_another() -> None:\n    raise RuntimeError\n"
    )
    [verdict] = check.marked_tests(report, tmp_path)
    assert verdict.held is held
    assert bool(report.errors) is not held
    assert ("1 passed" in verdict.figures) is held


def test_wrong_answers_do_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = setting("cpu", "tiny", 0.01)
    answered = Engine.segment_concepts

    def wrong(engine: Engine, items: list) -> list[list[ConceptDetections]]:
        found = answered(engine, items)
        if engine is reference:
            return found
        return [
            [replace(one, mask_logits=-one.mask_logits, scores=one.scores + 0.1) for one in answers]
            for answers in found
        ]

    reference = asked.reference(asked.spec, trained=True)
    monkeypatch.setattr(Engine, "segment_concepts", wrong)
    held = {
        verdict.what.rpartition(": ")[2]: verdict.held
        for verdict in right.as_on_the_cpu(asked, asked.spec, trained=True)
    }
    assert held == {
        "embeddings' relative error": True,
        "concept scores differ by": False,
        "concept masks' IoU": False,
        "click masks' IoU": True,
    }


@pytest.mark.parametrize("wrong", [False, True])
def test_followed_objects_are_compared(monkeypatch: pytest.MonkeyPatch, wrong: bool) -> None:
    made = Engine.load("tiny", device="cpu", video=True)
    reference = Engine.load("tiny", device="cpu", video=True)

    def wrongly(engine: Engine, turns: Sequence[Turn]) -> list[Answer]:
        (answer,) = advance(engine, turns)
        if engine is reference or not wrong:
            return [answer]
        shown = tuple(replace(one, mask_logits=-one.mask_logits) for one in answer.shown)
        return [replace(answer, shown=shown)]

    monkeypatch.setattr(tracking, "advance", wrongly)
    monkeypatch.setattr(
        Setting, "follower", lambda _self, *_, **given: reference if "reference" in given else made
    )
    (verdict,) = tracking.as_on_the_cpu(setting("cpu", "tiny", 0.01))
    assert verdict.held is not wrong


@pytest.mark.parametrize(("device", "model"), [("cuda", "tiny"), ("cpu", "huge")])
def test_what_is_not_there_is_refused(device: str, model: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match=r"no CUDA|unknown model"):
        setting(device, model, 1.0)


def test_the_check_imports_no_more_than_what_is_taken_to_the_machine() -> None:
    """The machine has torch, torchvision and timm, and their dependencies."""
    program = (
        "import sys; before = set(sys.modules); import bench.gpu.check; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    packages = packages_distributions()
    imported = {
        name.lower().replace("_", "-")
        for module in run.stdout.split()
        if module not in sys.stdlib_module_names
        for name in packages.get(module, ())[:1]
    }
    there = {
        "torch",
        "torchvision",
        "timm",
        "numpy",
        "pillow",
        "triton",
        "sympy",
        "mpmath",
        "filelock",
        "tqdm",
    }
    there |= {"typing-extensions", "huggingface-hub", "safetensors", "pyyaml", "networkx", "jinja2", "fsspec"}
    there |= {
        "httpx",
        "httpcore",
        "h11",
        "anyio",
        "sniffio",
        "idna",
        "certifi",
        "click",
        "rich",
        "pygments",
        "brotli",
    }
    there |= {name for name in imported if name.startswith(("nvidia-", "cuda-"))}
    lines = Path(check.__file__).with_name("packages.txt").read_text().splitlines()
    taken = {line for line in lines if not line.startswith("#")}
    ours = {"sam3-serve", "opencv-python"}  # the latter is the headless one's other name
    assert imported - there - ours <= taken
