import json
import re
from pathlib import Path

import pytest

from bench.timing import exponent, side_by_side
from harness.records import Record, figures, read, server_timing, write
from harness.usage import Group, Sample, Usage, group_of
from loadtest.baselines import Cell, Comparison
from loadtest.plan import Plan
from loadtest.report import write as write_report
from loadtest.result import Result, knee, point


def record(
    due: float,
    seconds: float,
    error: str = "",
    sent: float | None = None,
    status: int = 200,
    retry_after: bool = False,
) -> Record:
    stages = {"prompt": 1000 * seconds}
    return Record(
        "click",
        due,
        due if sent is None else sent,
        due + seconds,
        status,
        error,
        10,
        "hit",
        stages,
        retry_after,
    )


def test_latency_counts_from_when_a_request_was_due() -> None:
    late = record(1.0, 0.5, sent=1.4)
    assert late.seconds == 0.5
    assert point([late], 2.0).late_s == pytest.approx(0.4)


def test_a_point_counts_what_was_due_and_what_was_answered_in_time() -> None:
    records = [record(0.1, 0.1), record(0.5, 0.1, "wrong"), record(1.9, 5.0), record(2.5, 0.1)]
    found = point(records, 2.0)
    assert (found.offered, found.achieved, found.failed) == (1.5, 0.5, 1)
    assert found.latency.max == 5.0


def test_a_refusal_is_neither_an_answer_nor_a_failure() -> None:
    refused = record(0.2, 0.01, "503 overloaded", status=503, retry_after=True)
    records = [record(0.1, 0.1), refused, record(0.3, 0.1, "wrong")]
    found, at = figures(records), point(records, 1.0)
    assert (found.requests, found.answered, found.refused, found.failed) == (3, 1, 1, 1)
    assert (at.offered, at.achieved, at.refused, at.failed) == (3.0, 1.0, 1, 1)
    assert found.latency.max == at.latency.max == pytest.approx(0.1)
    unheeded = record(0.2, 0.01, "503 no server", status=503)
    assert (figures([unheeded]).failed, point([unheeded], 1.0).failed) == (1, 1), (
        "a proxy's, without Retry-After"
    )


def test_the_knee_is_the_load_before_the_first_that_misses() -> None:
    fast, slow = [record(0.01 * i, 0.01) for i in range(100)], [record(0.01 * i, 2.0) for i in range(100)]
    good, bad = point(fast, 1.0, sessions_per_s=1.0), point(slow, 1.0, sessions_per_s=2.0)
    failing = point([*fast, record(0.5, 0.01, "wrong")], 1.0)
    assert knee([good, bad, good], 0.1) is good
    assert knee([bad, good], 0.1) is None
    assert knee([good, failing], 0.1) is good
    refusing = point([*fast, record(0.5, 0.01, "503 overloaded", status=503, retry_after=True)], 1.0)
    assert knee([good, refusing], 0.1) is good
    assert knee([], 0.1) is None
    nothing = point([], 1.0, sessions_per_s=0.5)
    assert knee([nothing, good, bad], 0.1) is good
    assert knee([nothing, bad], 0.1) is None


def test_records_and_plans_survive_their_files(tmp_path: Path) -> None:
    write(tmp_path / "records", [record(0.1, 0.2)])
    assert read(tmp_path / "records") == [record(0.1, 0.2)]
    plan = Plan("http://x", "mixed", 1.0, by_id=("/a",))
    plan.write(tmp_path / "plan")
    assert Plan.read(tmp_path / "plan") == plan


def test_server_timing() -> None:
    header = "decode;dur=0.00, cache;desc=hit, prompt;dur=8.49, total;dur=45.11"
    assert server_timing(header) == ("hit", {"decode": 0.0, "prompt": 8.49, "total": 45.11})
    assert server_timing("") == ("", {})


def test_processes_are_grouped_by_what_they_are() -> None:
    assert group_of(["ray::ServeReplica:sam3:PromptDecoder"]) == "PromptDecoder"
    assert group_of(["ray::ServeReplica:sam3:Ingress.run"]) == "Ingress"
    assert group_of(["ray::PoolShard"]) == "pool"
    assert group_of(["/x/haproxy", "-f", "y"]) == "haproxy"
    assert group_of(["python", "-m", "serve_app.cli.entry", "up"]) == "sam3-serve up"
    assert group_of(["/ray/raylet"]) == "ray"


def test_exponents() -> None:
    assert exponent([1, 2, 4, 8], [3, 6, 12, 24]) == pytest.approx(1)
    assert exponent([1, 2, 4], [5, 5, 5]) == pytest.approx(0)
    assert exponent([1, 10], [2, 200]) == pytest.approx(2)


def test_side_by_side_calls_all_of_them_equally_often() -> None:
    calls = {"a": 0, "b": 0}

    def call(name: str) -> None:
        calls[name] += 1

    found = side_by_side({"a": lambda: call("a"), "b": lambda: call("b")}, 0.0)
    assert calls["a"] == calls["b"] == found["a"].calls + 1


def test_a_report_is_one_page_and_its_json(tmp_path: Path) -> None:
    records = [record(0.1 * index, 0.02) for index in range(50)] + [record(1.0, 0.1, "wrong <answer>")]
    load = point(records, 5.0, sessions_per_s=3.0)
    cells = [
        Cell("click", clients, name, figures(records), per_s, cpu_ms)
        for clients in (1, 8)
        for name, per_s, cpu_ms in (("served", 80.0, 6.0), ("bare", 100.0, 3.0), ("naive", 10.0, 30.0))
    ]
    result = Result("mixed", "make", {"cpu": "a <cpu>"}, {"model": "tiny"}, 0.5, 0.9, 7)
    result.sweep, result.ramp, result.steady, result.records = [load], [load], load, records
    result.usage = Usage([Sample(1.0, {"Ingress": 0.5}, {"Ingress": 1})], {"Ingress": Group(1, 0.5, 100.0)})
    result.tiers = {"hot": 9.0}
    result.comparison = Comparison(cells, {"naive": 0.9})
    page = write_report(result, tmp_path, "x")
    text = page.read_text()
    assert "<answer>" not in text
    assert "a &lt;cpu&gt;" in text
    assert text.count("<svg") == 5
    assert not re.search(r"(src|href)=\"?http", text), "the page stands alone"
    written = json.loads((tmp_path / "x.json").read_text())
    assert written["by_kind"]["all"]["failed"] == 1
    assert written["ratios"]["click: answers a second, served / bare"] == pytest.approx(0.8)
    assert written["ratios"]["click: CPU an answer, served / naive"] == pytest.approx(0.2)
