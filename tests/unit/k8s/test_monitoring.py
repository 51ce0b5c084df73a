"""The rules and the dashboard reach a cluster as they are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from scripts.helm_chart import example, render
from tests.support.kubernetes import ROOT, Manifest, group_with, of_kind, pod_templates, read

MONITORING = ROOT / "k8s" / "monitoring"
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is missing: scripts/setup test installs it"
)


def promtool(folder: Path, file: str) -> None:
    """Runs a file of tests of rules. Raises AssertionError with its report."""
    done = subprocess.run(["promtool", "test", "rules", file], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def rules_of(name: str, namespace: str, **monitoring: bool) -> dict[str, Manifest]:
    """The rules of a release by their file."""
    given = {**example("ha"), "monitoring": {"enabled": True, "gpu": True, **monitoring}}
    found = read(render(given, name=name, namespace=namespace).values())
    specs = {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == "PrometheusRule"}
    assert specs.keys() == {name, f"{name}-kubernetes", f"{name}-gpu"}
    return {
        "rules.yaml": specs[name],
        "kubernetes-rules.yaml": specs[f"{name}-kubernetes"],
        "gpu-rules.yaml": specs[f"{name}-gpu"],
    }


def test_the_operator_gets_the_rules_that_are_tested() -> None:
    for file, spec in rules_of("sam3", "sam3").items():
        tested = (MONITORING / file).read_text(encoding="utf-8")
        # Several releases may report to one Prometheus; the operator names a job after its monitor.
        tested = tested.replace('{state="answered"}', '{job="sam3/sam3",state="answered"}')
        assert spec == yaml.safe_load(tested)


@needs_promtool
@pytest.mark.parametrize("honor_labels", [False, True])
def test_alerts_are_about_the_release_that_brings_them(tmp_path: Path, honor_labels: bool) -> None:
    """The same series under other names make the same alerts, and a neighbour `sam3` in `sam3` makes none."""
    for file, spec in rules_of("cut", "vision", gpuHonorLabels=honor_labels).items():
        (tmp_path / file).write_text(yaml.safe_dump(spec))
    text = (MONITORING / "kubernetes-rules.test.yaml").read_text(encoding="utf-8")
    neighbours = yaml.safe_load(text)
    ours = re.sub(r'namespace="sam3"', 'namespace="vision"', text).replace(
        "namespace: sam3", "namespace: vision"
    )
    ours = re.sub(r"\bsam3/", "vision/", ours)
    ours = re.sub(r"\bsam3-", "cut-", ours)
    if honor_labels:
        ours = ours.replace(' namespace="vision", exported_', " exported_").replace("exported_", "")
    for test in neighbours["tests"]:
        for case in test["alert_rule_test"]:
            case["exp_alerts"] = []
    (tmp_path / "ours.yaml").write_text(ours)
    (tmp_path / "neighbours.yaml").write_text(yaml.safe_dump(neighbours))
    promtool(tmp_path, "ours.yaml")
    promtool(tmp_path, "neighbours.yaml")


def test_prometheus_finds_monitors_and_rules_by_their_labels() -> None:
    """kube-prometheus-stack selects by the name of its release."""
    for found in (*of_kind("ha", "PrometheusRule"), *of_kind("ha", "PodMonitor")):
        assert found["metadata"]["labels"]["release"] == "kube-prometheus-stack"


@needs_promtool
def test_alerts_of_the_cluster_fire_on_what_they_are_for_and_lead_to_a_paragraph() -> None:
    tests = yaml.safe_load((MONITORING / "kubernetes-rules.test.yaml").read_text(encoding="utf-8"))["tests"]
    fired = {
        case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")
    }
    promtool(MONITORING, "kubernetes-rules.test.yaml")
    guide = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    for file in ("kubernetes-rules.yaml", "gpu-rules.yaml"):
        for group in yaml.safe_load((MONITORING / file).read_text(encoding="utf-8"))["groups"]:
            for alert in group["rules"]:
                if "record" in alert:
                    continue
                assert alert["alert"] in fired
                page, _, anchor = alert["annotations"]["runbook"].partition("#")
                assert page == "docs/kubernetes.md"
                assert re.search(rf"^### {anchor.replace('-', ' ')}$", guide, re.MULTILINE | re.IGNORECASE)


def test_grafana_gets_the_dashboard() -> None:
    (config,) = [
        found for found in of_kind("ha", "ConfigMap") if found["metadata"]["name"] == "sam3-dashboard"
    ]
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    dashboard = json.loads(config["data"]["dashboard.json"])
    assert dashboard == json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))


def test_prometheus_scrapes_pods_that_answer_for_all() -> None:
    (monitor,) = of_kind("ha", "PodMonitor")
    selected = monitor["spec"]["selector"]["matchLabels"]
    group = group_with("ha", "sam3/ingress")
    labels = {**group["template"]["metadata"]["labels"], **group["labels"]}
    assert selected.items() <= labels.items()
    others = [template["metadata"]["labels"] for template in pod_templates("ha")]
    assert not any(selected.items() <= other.items() for other in others), (
        "the operator adds the groups' labels"
    )
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ports = {port["name"] for port in group["template"]["spec"]["containers"][0]["ports"]}
    assert endpoint["port"] in ports
    assert endpoint["path"] == "/metrics"
