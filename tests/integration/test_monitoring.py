"""The operators' view, with a real Prometheus that scrapes a real server: no panel is empty, no rule is invalid."""

import json
import math
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from harness.machine import this_machine
from harness.prometheus import RULES, Prometheus, prometheus
from harness.server import ServerProcess
from harness.waiting import wait_until
from scripts import grafana_dashboard
from tests.integration.conftest import KEY, Observed
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, numbered

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is missing: scripts/setup test installs it"
)
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
IMAGES = 12
CLICK = {"points": [{"x": 70, "y": 80, "positive": True}]}
QUERIES = [query for row in grafana_dashboard.ROWS.values() for panel in row for query, _ in panel.queries]
ALERTS = [
    rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]
SELECTOR = re.compile(r"(?:sam3|ray)[:_][\w:]+(?:\{[^}]*\})?")
GPU = re.compile(r"sam3:gpu|ray_node_g")


def has_gpu() -> bool:
    return this_machine().gpu != "no GPU"


@pytest.fixture(scope="module")
def watching(observed_server: Observed) -> Iterator[Prometheus]:
    """A Prometheus that has seen traffic of every kind."""
    server = observed_server.server
    with prometheus(observed_server.folder, server.url) as running:
        restart_a_replica(server)
        traffic(server)
        wait_until(lambda: running.value("sum(sam3_requests_total)") > 0)
        sent = traffic(server)  # rates need two different values
        wanted = f'sum(sam3_requests_total{{route=~"/sam3/.*"}}) >= {2 * sent}'
        wait_until(lambda: bool(running.query(wanted)))
        wait_until(
            lambda: bool(running.query("sum(sam3:requests:rate5m) > 0 and sum(sam3:evictions:rate5m) > 0"))
        )
        wait_until(lambda: bool(running.query('sam3:images_encoded:rate5m{cause="again"}')))
        wait_until(lambda: bool(running.query("sam3:replica_starts:increase15m")))
        for ratio in ("sam3:unavailable:ratio", "sam3:slow:ratio"):  # not a number while nothing is counted
            wait_until(partial(found, running, f"{ratio}5m >= 0 and {ratio}1h >= 0"))
        yield running


def restart_a_replica(server: ServerProcess) -> None:
    """Ray may miss the first starts, which come before its agent listens; this one it counts."""
    (decoder,) = server.named("ServeReplica:sam3:PromptDecoder")
    decoder.kill()
    wait_until(
        lambda: any(each.pid != decoder.pid for each in server.named("ServeReplica:sam3:PromptDecoder"))
    )


def traffic(server: ServerProcess) -> int:
    """New images, known ones, ones that had to make room, and mistakes. The number of requests."""
    sent = 0

    def post(route: str, expect: int, **document: Any) -> None:
        nonlocal sent
        sent += 1
        answer = requests.post(
            f"{server.url}/sam3/{route}", json=document, headers=AUTHORIZED, timeout=PATIENCE_S
        )
        assert answer.status_code == expect, answer.text

    for number in range(IMAGES):
        post("embed_image", 200, image=as_json(numbered(number)), image_id=f"id-{number}")
        post("visual_segment", 200, image_id=f"id-{number}", prompts=[CLICK])
    for number in range(3):  # evicted meanwhile, their sources are kept
        post("visual_segment", 200, image_id=f"id-{number}", prompts=[CLICK])
    post("concept_segment", 200, image_id="id-0", prompts=[{"type": "text", "text": "star"}])
    post("visual_segment", 404, image_id="never sent", prompts=[CLICK])
    post("concept_segment", 422, image_id="id-0", prompts=[])
    return sent


def found(watching: Prometheus, query: str) -> bool:
    return bool(watching.query(query))


def is_shown(watching: Prometheus, query: str) -> bool:
    return bool(shown(watching, query))


def shown(watching: Prometheus, query: str) -> list[float]:
    """The finite values in a query's graph of the last minute."""
    now = time.time()
    graph = watching.query_range(query, now - 60, now, 1)
    values = [float(value) for series in graph for _, value in series["values"]]
    return [value for value in values if math.isfinite(value)]


@pytest.mark.parametrize("query", QUERIES)
def test_no_panel_is_empty(watching: Prometheus, query: str) -> None:
    if GPU.search(query) and not has_gpu():
        assert shown(watching, query) == []  # valid, and nothing to show
    else:
        wait_until(partial(is_shown, watching, query))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_looks_at_something(watching: Prometheus, alert: dict[str, Any]) -> None:
    watching.query(alert["expr"])
    for selector in SELECTOR.findall(alert["expr"]):
        if not GPU.search(selector) or has_gpu():
            wait_until(partial(is_shown, watching, selector), problem=partial(str, selector))


def test_every_rule_is_evaluated_without_error(watching: Prometheus) -> None:
    rules = [rule for group in watching.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    assert len(rules) > len(ALERTS)


def test_a_service_that_is_well_raises_nothing_about_its_parts(watching: Prometheus) -> None:
    firing = {alert["labels"]["alertname"] for alert in watching.get("alerts")["alerts"]}
    wrong = {
        "Sam3NotScraped",
        "Sam3NoHotReplica",
        "Sam3ReplicaRestarts",
        "Sam3NodeSilent",
        "Sam3UnavailableFast",
    }
    assert not firing & wrong


def test_counted_is_what_was_sent(watching: Prometheus) -> None:
    def last(metric: str) -> float:
        return watching.value(f"sum(last_over_time({metric}[1m]))")  # a scrape may have been late

    assert last('sam3_requests_total{route="/sam3/embed_image",status="200"}') == 2 * IMAGES
    assert last('sam3_requests_total{route="/sam3/visual_segment",status="404"}') == 2
    assert last('sam3_requests_total{route="/sam3/concept_segment",status="422"}') == 2
    assert last('sam3_request_seconds_count{route="/sam3/visual_segment"}') == 2 * (IMAGES + 4)
    for part in ("ingress", "encoder", "decoder", "pool"):  # how many, is up to the autoscaler
        assert last(f'sam3_processes{{part="{part}"}}') >= 1


def test_promtool_finds_nothing_wrong_with_the_exposition(
    observed_server: Observed, watching: Prometheus
) -> None:
    text = requests.get(f"{observed_server.server.url}/metrics", timeout=60).content
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def session_folder(server: ServerProcess) -> Path:
    """The session folder of this server's Ray, with its logs."""
    option = "--session_dir="
    words = [word for process in server.named("raylet") for word in process.cmdline()]
    return next(Path(word.removeprefix(option)) for word in words if word.startswith(option))


def test_one_line_is_logged_for_each_request_and_serve_logs_none(
    observed_server: Observed, watching: Prometheus
) -> None:
    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in observed_server.access_log.read_text().splitlines()]

    def ours() -> list[dict[str, Any]]:
        return [line for line in lines() if line["route"].startswith("/sam3/")]

    wait_until(lambda: len(ours()) >= 2 * (2 * IMAGES + 3 + 3))  # a line is written when its answer is out
    assert len(ours()) == 2 * (2 * IMAGES + 3 + 3)
    ids = [line["request_id"] for line in lines()]
    assert len(set(ids)) == len(ids)
    tiers = {line["cache"] for line in ours()}
    assert {"hot", "cold", "miss", None} <= tiers
    session = session_folder(observed_server.server)
    logs = [path for path in (session / "logs").rglob("*") if path.is_file()]
    assert any("replica_sam3_Ingress" in path.name for path in logs)
    assert not [path for path in logs if b"POST /sam3/visual_segment" in path.read_bytes()]


def test_the_id_of_an_answer_is_the_id_in_the_log(observed_server: Observed) -> None:
    answered = []
    for sent in ("plain-id", "x" * 129, "a b", "caf\xe9", ""):
        answer = requests.get(
            f"{observed_server.server.url}/info",
            headers={"X-Request-ID": sent.encode("latin-1")},
            timeout=PATIENCE_S,
        )
        assert answer.status_code == 200, answer.text
        answered.append(answer.headers["X-Request-ID"])
    assert answered[0] == "plain-id"
    assert len(set(answered)) == len(answered)

    def logged() -> set[str]:
        lines = observed_server.access_log.read_text().splitlines()
        return {json.loads(line)["request_id"] for line in lines}

    wait_until(lambda: logged() >= set(answered))


def test_a_request_is_one_trace_across_processes(observed_server: Observed) -> None:
    collector = observed_server.collector

    def traced(number: int, **document: Any) -> str:
        trace_id = f"{number:032x}"
        headers = {**AUTHORIZED, "traceparent": f"00-{trace_id}-{'b' * 16}-01"}
        body = {"prompts": [CLICK], **document}
        url = f"{observed_server.server.url}/sam3/visual_segment"
        answer = requests.post(url, json=body, headers=headers, timeout=PATIENCE_S)
        assert answer.status_code == 200
        return trace_id

    new, known = traced(1, image=as_json(numbered(5000))), traced(2, image=as_json(numbered(5000)))
    stages = {"transfer", "queue", "prompt", "post"}
    within = {"decoder.run": stages, "pool.ensure": {"encoder.encode"}}
    root = "POST /sam3/visual_segment"
    wait_until(lambda: {root, "decode", *within, *stages, "encoder.encode"} <= collector.trace(new).keys())
    wait_until(lambda: {root, "decoder.run", *stages} <= collector.trace(known).keys())
    found = collector.trace(new)
    assert found[root].parent == "b" * 16
    assert (
        found["decode"].parent == found["pool.ensure"].parent == found["decoder.run"].parent == found[root].id
    )
    for outer, inner in within.items():
        assert {found[name].parent for name in inner} == {found[outer].id}
    parts = {name: span.part for name, span in found.items()}
    assert (parts[root], parts["pool.ensure"], parts["encoder.encode"]) == ("ingress", "pool", "encoder")
    assert "encoder.encode" not in collector.trace(known)
    assert found[root].attributes["sam3.cache"] == "miss"
