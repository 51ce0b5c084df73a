"""The rules and the dashboard of k8s/monitoring, without a Prometheus. tests/integration has one."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.observe.exposition import OURS
from deployments.ray.metrics import RAYS
from scripts import grafana_dashboard, metrics_table

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "k8s" / "monitoring"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
PANELS = [panel for panel in json.loads(grafana_dashboard.text())["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus"
)


def promtool(*arguments: str) -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_the_rules_are_valid() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "rules.yaml")


@needs_promtool
def test_each_alert_fires_on_what_it_is_for() -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules.test.yaml")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_has_a_test_and_a_paragraph_in_the_runbook(alert: dict[str, Any]) -> None:
    tests = yaml.safe_load((MONITORING / "rules.test.yaml").read_text())["tests"]
    fired = {
        case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if case["exp_alerts"]
    }
    assert alert["alert"] in fired
    sections = re.split(r"^## ", (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)[1:]
    texts = {
        title.strip(): text.strip() for title, _, text in (section.partition("\n") for section in sections)
    }
    assert len(texts[alert["alert"]]) > 100
    assert alert["annotations"]["runbook"] == f"docs/runbook.md#{alert['alert'].lower()}"
    assert alert["labels"]["severity"] in ("page", "ticket")


def test_the_runbook_is_about_nothing_else() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)
    assert titles == [alert["alert"] for alert in ALERTS]


@pytest.mark.parametrize("query", [*QUERIES, *(rule["expr"] for rule in RULES)])
def test_queries_name_metrics_that_exist(query: str) -> None:
    parts = ("_bucket", "_sum", "_count")
    histograms = {
        name + part for name, metric in OURS.items() if metric.kind == "histogram" for part in parts
    }
    known = RECORDED | OURS.keys() | histograms | {ray.name for ray in RAYS}
    bare = re.sub(r'"[^"]*"', "", query)
    named = set(re.findall(r"\b(?:sam3|ray)[:_][\w:]+", bare))
    assert named
    assert named <= known


def test_the_dashboard_file_is_what_the_script_writes() -> None:
    assert grafana_dashboard.TARGET.read_text() == grafana_dashboard.text(), (
        "python -m scripts.grafana_dashboard"
    )


def test_the_documents_table_of_metrics_is_todays() -> None:
    document = metrics_table.DOCUMENT.read_text()
    assert document == metrics_table.written(document), "python -m scripts.metrics_table"


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(grafana_dashboard.text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
