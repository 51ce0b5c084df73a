"""The rules and the dashboard reach a cluster as they are."""

import json

import yaml

from tests.support.kubernetes import ROOT, group_with, of_kind, pod_templates

MONITORING = ROOT / "k8s" / "monitoring"


def test_the_operator_gets_the_rules_that_are_tested() -> None:
    (rule,) = of_kind("ha", "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))
    assert {group["name"] for group in rule["spec"]["groups"]} > {"sam3-traffic", "sam3-state"}


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
