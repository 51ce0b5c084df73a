"""The load test and the engine's benchmark from start to end, in small, so that they do not rot."""

import json
from pathlib import Path

from bench import full_size, labelling
from bench import run as bench
from loadtest import run
from sam3_engine.spec import TINY


def test_a_load_test_reports_and_finds_every_answer_right(tmp_path: Path) -> None:
    small = ["--duration", "2", "--step", "1", "--pictures", "2", "--baselines", "small"]
    assert run.main([*small, "--out", str(tmp_path), "--name", "small"]) == 0
    report = json.loads((tmp_path / "small.json").read_text())
    assert report["settings"]["model"] == "tiny"
    assert report["answers"]["click_iou_with_drawing"] > 0.5
    assert report["by_kind"]["all"]["requests"] > 0
    assert report["by_kind"]["all"]["failed"] == 0, report["by_kind"]["all"]["errors"]
    points = report["closed_loop"] + report["open_loop"]
    assert all(point["failed"] == 0 for point in points), (
        "a slow machine refuses some, and answers no other wrong"
    )
    assert report["open_loop"]
    assert sum(report["cache_lookups"].values()) > 0
    assert {"Ingress", "PromptDecoder", "ImageEncoder", "pool"} <= report["processes"].keys()
    cells = {(cell["scenario"], cell["name"]): cell for cell in report["baselines"]}
    assert {name for _, name in cells} == {"served", "bare", "naive", "peer"}
    assert all(cell["figures"]["failed"] == cell["figures"]["refused"] == 0 for cell in cells.values())
    assert all(share > 0.6 for share in report["same_masks"].values()), "the same weights, other resizing"
    assert "<svg" in (tmp_path / "small.html").read_text()


def test_the_engine_benchmark(tmp_path: Path) -> None:
    assert bench.main(["--small", "--seconds", "0.05", "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "bench.json").read_text())
    assert all(row["ours"]["calls"] >= 5 for row in report["rows"])
    assert len(report["growth"]) > 5
    assert len(report["full size on a CPU"]) == 4
    text = (tmp_path / "bench.md").read_text()
    assert "exponent" in text
    assert "features to an embedding" in text


def test_the_benchmark_of_labelling(tmp_path: Path) -> None:
    asked = ["--images", "96", "--turns", "1", "--memory", "16", "--out", str(tmp_path)]
    assert labelling.main(asked) == 0
    report = json.loads((tmp_path / "labelling.json").read_text())
    assert report["rates"].keys() == {"engine", "label", "script", "sdk"}
    assert len({one["objects"] for one in report["rates"].values()}) == 1, "all find the same"
    assert all(one["images_per_s"] > 0 for one in report["rates"].values())
    assert report["memory"][0]["mib"] > 0


def test_the_benchmark_of_the_full_size_on_a_cpu() -> None:
    found = [row[0] for row in full_size.rows(TINY, "bfloat16", rounds=1, encodes=1)]
    assert found[:3] == ["one windowed block", "one global block", "an encode"]
    assert len(found) == 4
