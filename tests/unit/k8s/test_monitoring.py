"""The rules and the dashboard reach a cluster as they are."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from tests.support.kubernetes import ROOT, group_with, of_kind, pod_templates

MONITORING = ROOT / "k8s" / "monitoring"


def test_the_operator_gets_the_rules_that_are_tested() -> None:
    rules = {rule["metadata"]["name"]: rule for rule in of_kind("ha", "PrometheusRule")}
    files = {"sam3": "rules.yaml", "sam3-kubernetes": "kubernetes-rules.yaml", "sam3-gpu": "gpu-rules.yaml"}
    assert rules.keys() == files.keys()
    for name, file in files.items():
        assert rules[name]["spec"] == yaml.safe_load((MONITORING / file).read_text(encoding="utf-8"))


def test_prometheus_finds_monitors_and_rules_by_their_labels() -> None:
    """kube-prometheus-stack selects by the name of its release."""
    for found in (*of_kind("ha", "PrometheusRule"), *of_kind("ha", "PodMonitor")):
        assert found["metadata"]["labels"]["release"] == "kube-prometheus-stack"


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is missing: scripts/setup test installs it"
)
def test_alerts_of_the_cluster_fire_on_what_they_are_for_and_lead_to_a_paragraph() -> None:
    tests = yaml.safe_load((MONITORING / "kubernetes-rules.test.yaml").read_text(encoding="utf-8"))["tests"]
    fired = {
        case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")
    }
    done = subprocess.run(
        ["promtool", "test", "rules", "kubernetes-rules.test.yaml"],
        cwd=MONITORING,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    guide = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    for file in ("kubernetes-rules.yaml", "gpu-rules.yaml"):
        for group in yaml.safe_load((MONITORING / file).read_text(encoding="utf-8"))["groups"]:
            for alert in group["rules"]:
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
