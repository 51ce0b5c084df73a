"""An attacker's view: in a pod, on the network of the cluster, in the repository."""

from typing import Any

import pytest
import yaml

from serve_app.cli.ray_environment import SEVERAL_MACHINES, environment
from serve_app.settings import Settings
from tests.support.kubernetes import (
    EXAMPLES,
    ROOT,
    Manifest,
    all_pod_specs,
    cluster,
    groups,
    of_kind,
    pod_templates,
    ray_service,
    serve_config,
)
from tests.support.network import Peer, may_connect

OURS = {"app.kubernetes.io/part-of": "sam3-serve", "app.kubernetes.io/instance": "sam3"}
RAY = {"ray.io/is-ray-node": "yes", **OURS}
HEAD = Peer("sam3", {**RAY, "ray.io/node-type": "head"})
OPERATOR = Peer("kuberay-system", {"app.kubernetes.io/name": "kuberay-operator"})
PROMETHEUS = Peer("monitoring", {"app.kubernetes.io/name": "prometheus"})
NEIGHBOUR = Peer("elsewhere", {"app.kubernetes.io/name": "anything"})
DISGUISED = Peer("elsewhere", {**RAY, **OPERATOR.labels, "ray.io/node-type": "head"})
LODGER = Peer("sam3", {"app.kubernetes.io/name": "anything"})
"""A pod that somebody put into our namespace."""

DASHBOARD, GCS, CLIENT, STATS, PROXY_METRICS, AGENT, RAY_METRICS = 8265, 6379, 10001, 8404, 9101, 52365, 8080
INSIDE = (DASHBOARD, GCS, CLIENT, STATS, PROXY_METRICS, AGENT, 30000, 40000, 8500, 22)


def worker(group: Manifest) -> Peer:
    kind = {"ray.io/node-type": "worker", "ray.io/group": group["groupName"]}
    return Peer("sam3", {**RAY, **kind, **group["labels"]})


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def policies(example: str) -> list[Manifest]:
    return of_kind(example, "NetworkPolicy")


@pytest.mark.parametrize("attacker", [NEIGHBOUR, DISGUISED, LODGER, Peer(address="203.0.113.9")], ids=str)
def test_from_outside_only_the_api_answers(example: str, policies: list[Manifest], attacker: Peer) -> None:
    for target in [HEAD, *map(worker, groups(example))]:
        for port in (*INSIDE, RAY_METRICS):
            assert not may_connect(policies, attacker, target, port), (attacker, target, port)
    assert not may_connect(policies, attacker, HEAD, 9001)
    for group in groups(example):
        answers = group["labels"].get("sam3/ingress") == "true"
        assert may_connect(policies, attacker, worker(group), 9001) == answers


def test_prometheus_reaches_metrics_alone(example: str, policies: list[Manifest]) -> None:
    for target in [HEAD, *map(worker, groups(example))]:
        assert may_connect(policies, PROMETHEUS, target, RAY_METRICS)
        assert not any(may_connect(policies, PROMETHEUS, target, port) for port in INSIDE)


def test_the_operator_deploys_through_the_head(example: str, policies: list[Manifest]) -> None:
    assert may_connect(policies, OPERATOR, HEAD, DASHBOARD)
    assert may_connect(policies, OPERATOR, HEAD, 9001)
    assert not may_connect(policies, OPERATOR, HEAD, GCS)
    assert not any(may_connect(policies, OPERATOR, worker(group), DASHBOARD) for group in groups(example))


def test_ray_reaches_itself_and_names(example: str, policies: list[Manifest]) -> None:
    nodes = [HEAD, *map(worker, groups(example))]
    for one in nodes:
        for other in nodes:
            assert may_connect(policies, one, other, GCS)
        for names in (Peer("kube-system", {"k8s-app": "kube-dns"}), Peer(address="169.254.20.10")):
            assert may_connect(policies, one, names, 53, "UDP")
            assert not may_connect(policies, one, names, 80)


def test_image_urls_lead_to_public_addresses_alone(example: str, policies: list[Manifest]) -> None:
    (application,) = serve_config(example)["applications"]
    allowed = Settings(**application["args"]).image_urls
    for group in groups(example):
        reads_urls = allowed and group["labels"].get("sam3/ingress") == "true"
        for address in ("8.8.8.8", "2001:4860:4860::8888"):
            assert may_connect(policies, worker(group), Peer(address=address), 443) == reads_urls
            assert not may_connect(policies, worker(group), Peer(address=address), 80)
        for private in (
            "10.0.0.1",
            "172.20.1.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "127.0.0.1",
            "::1",
            "fd00:ec2::254",
            "fe80::1",
            "::ffff:10.0.0.1",
        ):
            assert not may_connect(policies, worker(group), Peer(address=private), 443), private


def test_only_ingresses_the_pool_and_a_head_with_its_state_there_reach_the_store(
    example: str, policies: list[Manifest]
) -> None:
    store = Peer("sam3", {"app.kubernetes.io/name": "sam3-valkey"})
    for group in groups(example):
        needs_it = bool({"sam3/ingress", "sam3/pool"} & group["labels"].keys())
        assert may_connect(policies, worker(group), store, 6379) == needs_it
    cleaner = Peer("sam3", {**RAY, "ray.io/node-type": "redis-cleanup"})
    keeps_state = "gcsFaultToleranceOptions" in cluster(example)
    for one in (HEAD, cleaner):
        assert may_connect(policies, one, store, 6379) == keeps_state
    for other in (NEIGHBOUR, DISGUISED, LODGER):
        assert not may_connect(policies, other, store, 6379)
    assert not may_connect(policies, store, Peer(address="8.8.8.8"), 443)


def test_only_the_fetching_job_reaches_the_hub() -> None:
    job = Peer("sam3", {**OURS, "app.kubernetes.io/component": "fetch-weights"})
    policies = of_kind("gpu", "NetworkPolicy")
    assert may_connect(policies, job, Peer(address="8.8.8.8"), 443)
    assert not may_connect(policies, job, Peer(address="10.0.0.1"), 443)
    assert not may_connect(policies, job, HEAD, GCS)
    assert of_kind("air-gapped", "Job") == []


def test_air_gapped_pods_reach_nothing_outside() -> None:
    policies = of_kind("air-gapped", "NetworkPolicy")
    for pod in [HEAD, *map(worker, groups("air-gapped"))]:
        for port in (80, 443, 6443):
            assert not may_connect(policies, pod, Peer(address="8.8.8.8"), port)
            assert not may_connect(policies, pod, Peer(address="2001:4860:4860::8888"), port)
    assert may_connect(policies, HEAD, Peer(address="10.96.0.1"), 443), "the autoscaler's API server"


def contexts(spec: Manifest) -> list[tuple[str, dict[str, Any]]]:
    """Every container of a pod, with the pod's security context under its own."""
    return [
        (each["name"], {**spec["securityContext"], **each["securityContext"]})
        for each in [*spec.get("initContainers", []), *spec["containers"]]
    ]


def test_no_container_has_more_rights_than_it_needs(example: str) -> None:
    scaler = cluster(example)["autoscalerOptions"]["securityContext"]
    head = pod_templates(example)[0]["spec"]
    every = [found for spec in all_pod_specs(example) for found in contexts(spec)]
    for name, context in [*every, ("autoscaler", {**head["securityContext"], **scaler})]:
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["readOnlyRootFilesystem"] is True, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
    for spec in all_pod_specs(example):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert not any("hostPath" in volume for volume in spec.get("volumes", []))
    namespace = yaml.safe_load((ROOT / "k8s" / "namespace.yaml").read_text(encoding="utf-8"))
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_only_the_head_may_speak_to_kubernetes(example: str) -> None:
    head, *others = all_pod_specs(example)
    assert "serviceAccountName" not in head, (
        "the operator gives it one that may scale this cluster and no more"
    )
    assert all(spec["automountServiceAccountToken"] is False for spec in others)


def test_ray_asks_for_a_token_and_nothing_is_published(example: str) -> None:
    assert cluster(example)["authOptions"] == {"mode": "token"}
    assert ray_service(example)["spec"]["excludeHeadPodFromServeSvc"] is True
    assert "serviceType" not in cluster(example)["headGroupSpec"]
    assert "enableIngress" not in cluster(example)["headGroupSpec"]
    assert all(
        service["spec"].get("type", "ClusterIP") == "ClusterIP" for service in of_kind(example, "Service")
    )
    assert of_kind(example, "Ingress") == []


def test_secrets_are_named_and_never_written(example: str) -> None:
    assert of_kind(example, "Secret") == []
    for spec in all_pod_specs(example):
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            for variable in container.get("env", []):
                secret = any(word in variable["name"] for word in ("TOKEN", "PASSWORD", "KEY"))
                assert not secret or "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_serving_pods_never_see_the_hubs_token(example: str) -> None:
    assert "sam3-hub" not in str([*pod_templates(example), cluster(example)["autoscalerOptions"]])


def test_it_is_open_only_where_that_is_said(example: str) -> None:
    (application,) = serve_config(example)["applications"]
    settings = Settings(**application["args"])
    assert bool(settings.api_keys_file) != settings.allow_open
    assert settings.allow_open == (example == "demo")


def test_the_keys_are_where_the_settings_look(example: str) -> None:
    (application,) = serve_config(example)["applications"]
    keys = Settings(**application["args"]).api_keys_file
    mounts = {
        mount["mountPath"]
        for group in groups(example)
        if group["labels"].get("sam3/ingress") == "true"
        for mount in group["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    assert (keys is None) or str(keys.parent) in mounts


def variables(container: Manifest) -> dict[str, str]:
    found = {each["name"]: str(each["value"]) for each in container["env"]}
    assert len(found) == len(container["env"]), "each once"
    return found


def test_pods_get_what_tunes_serve_and_what_protects_it(example: str, tmp_path: Any) -> None:
    """All that `sam3-serve up` sets, but for the variables of one machine: its ports, its paths, its token."""
    given = variables(pod_templates(example)[0]["spec"]["containers"][0])
    fixed, tuned = environment(Settings(), tmp_path, "token")
    ours = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"}
    ours |= {name for name, value in fixed.items() if name.endswith("_PORT") or str(tmp_path) in value}
    ours.add("RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT")  # of a volume that is not there yet
    missing = (fixed.keys() | tuned.keys()) - given.keys() - ours
    assert missing == set()
    assert given["RAY_SERVE_HAPROXY_BINARY_PATH"] == "/usr/local/bin/sam3-haproxy"
    different = {name for name in given.keys() & tuned.keys() if given[name] != tuned[name]}
    assert different == {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"}
    assert SEVERAL_MACHINES.items() <= given.items()


def test_pods_of_one_cluster_have_the_same_environment_and_need_no_object_that_an_upgrade_deletes(
    example: str,
) -> None:
    """Helm deletes what a new version no longer has while the old cluster answers: its pods must start."""
    head, *workers = [template["spec"]["containers"][0] for template in pod_templates(example)]
    for each in (head, *workers):
        assert variables(head).items() <= variables(each).items()
        assert each["envFrom"] == [{"secretRef": {"name": "sam3-store"}}], "made by hand"
    assert variables(cluster(example)["autoscalerOptions"]) == variables(head)
    assert "configMap" not in str(ray_service(example))
