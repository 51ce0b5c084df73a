"""What replicas ask for is what nodes have; what keeps running when nodes leave."""

import math
import re
from typing import Any

import pytest

from deployments.config import DECODER, ENCODER, INGRESS
from deployments.resources import STORE_SHARE
from deployments.store.server import BESIDE_FILES
from scripts.k8s_config import DECODER_LABEL, ENCODER_LABEL, INGRESS_LABEL, POOL_LABEL
from serve_app.builder import rules
from serve_app.settings import Settings
from tests.support.kubernetes import (
    OVERLAYS,
    Manifest,
    cluster,
    group_with,
    groups,
    of_kind,
    pod_templates,
    quantity,
    ray_service,
    serve_config,
)

PROCESS_BYTES = {INGRESS: 1.5e9, ENCODER: 8e9, DECODER: 7e9}
TINY_PROCESS_BYTES = {INGRESS: 0.4e9, ENCODER: 0.9e9, DECODER: 0.9e9}
"""Host memory of one replica: its libraries, and at full size the checkpoint (3.4 GB) while it is loaded. Those of
`tiny` were measured (proportional set size): 0.14, 0.69 and 0.70e9."""
NODE_BYTES = 1.0e9
"""Raylet, agents, HAProxy."""


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def settings(overlay: str) -> Settings:
    (application,) = serve_config(overlay)["applications"]
    return Settings(**application["args"])


def needs(overlay: str) -> dict[str, dict[str, Any]]:
    (application,) = serve_config(overlay)["applications"]
    return {each["name"]: each["ray_actor_options"] for each in application["deployments"]}


def replicas(overlay: str, most: bool) -> dict[str, int]:
    """Of each deployment: those that are always there, or the most there can be."""
    found = settings(overlay)
    scaled = {ENCODER: rules(found, "encoder"), DECODER: rules(found, "decoder")}
    return {
        INGRESS: found.ingress_replicas,
        **{name: rule.most if most else rule.hot for name, rule in scaled.items()},
    }


def container(group: Manifest) -> Manifest:
    found: Manifest = group["template"]["spec"]["containers"][0]
    return found


def share(overlay: str, group: Manifest, nodes: int, most: bool) -> dict[str, int]:
    """Replicas of each deployment on one node of the group, spread evenly."""
    return {
        name: math.ceil(count / nodes)
        for name, count in replicas(overlay, most).items()
        if all(
            group["labels"].get(label) == value
            for label, value in needs(overlay)[name]["label_selector"].items()
        )
    }


def test_every_deployment_and_the_pool_have_nodes(overlay: str) -> None:
    for label in (INGRESS_LABEL, ENCODER_LABEL, DECODER_LABEL, POOL_LABEL):
        assert group_with(overlay, label)["maxReplicas"] > 0
    key, _, value = settings(overlay).pool_nodes.partition("=")
    assert group_with(overlay, key)["labels"][key] == value


@pytest.mark.parametrize("most", [False, True])
def test_replicas_fit_the_nodes(overlay: str, most: bool) -> None:
    for group in groups(overlay):
        nodes = group["maxReplicas"] if most else group["minReplicas"]
        if nodes == 0:
            assert settings(overlay).scale_to_zero_after_s
            continue
        limits = container(group)["resources"]["limits"]
        cpus = gpus = 0.0
        for name, count in share(overlay, group, nodes, most).items():
            cpus += count * needs(overlay)[name].get("num_cpus", 1)
            gpus += count * needs(overlay)[name].get("num_gpus", 0)
        assert cpus <= quantity(limits["cpu"]), (group["groupName"], cpus)
        assert gpus <= quantity(limits.get("nvidia.com/gpu", 0)), (group["groupName"], gpus)


def test_memory_holds_the_object_store_and_the_processes(overlay: str) -> None:
    tiny = settings(overlay).model == "tiny"
    for group in groups(overlay):
        store = int(group["rayStartParams"]["object-store-memory"])
        used = store + NODE_BYTES
        for name, count in share(overlay, group, max(1, group["minReplicas"]), most=False).items():
            used += count * (TINY_PROCESS_BYTES if tiny else PROCESS_BYTES)[name]
        if group["labels"].get(POOL_LABEL) == "true":
            used += 2 * int(settings(overlay).cold_bytes) / max(1, group["minReplicas"])
        assert used <= quantity(container(group)["resources"]["limits"]["memory"]), (group["groupName"], used)


def test_embeddings_fit_the_object_stores_that_are_always_there(overlay: str) -> None:
    """An embedding lies where it was encoded."""
    group = group_with(overlay, ENCODER_LABEL)
    store = int(group["rayStartParams"]["object-store-memory"]) * max(1, group["minReplicas"])
    assert int(settings(overlay).warm_bytes) <= STORE_SHARE * store


def test_nothing_is_left_to_the_machine_that_happens_to_be_there(overlay: str) -> None:
    found = settings(overlay)
    undecided = {name for name in found.model_dump() if getattr(found, name) == "auto"}
    of_a_device = {"dtype", "hot_bytes", "ingress_threads", "encoder_threads", "decoder_threads"}
    of_one_machine = {"object_store_bytes"}
    of_other_settings = {"encoder_max_replicas", "decoder_max_replicas", "shared_in_flight"}
    without_gpus = {"encoder_num_gpus", "decoder_num_gpus"} if found.device == "cpu" else set()
    assert undecided <= of_a_device | of_one_machine | of_other_settings | without_gpus


def test_pods_ask_for_the_memory_that_they_may_use(overlay: str) -> None:
    for template in pod_templates(overlay):
        resources = template["spec"]["containers"][0]["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"]
    for group in groups(overlay):
        resources = container(group)["resources"]
        assert resources["requests"] == resources["limits"]


def test_the_head_serves_nothing(overlay: str) -> None:
    head = cluster(overlay)["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert not any(label.startswith("sam3/") for label in head.get("labels", {}))


def test_demo_is_one_small_node() -> None:
    pods = [template["spec"]["containers"][0]["resources"]["limits"] for template in pod_templates("demo")]
    pods.append(cluster("demo")["autoscalerOptions"]["resources"]["limits"])
    assert sum(quantity(each["cpu"]) for each in pods) <= 4
    assert sum(quantity(each["memory"]) for each in pods) <= 7 * 2**30, "of 8 GiB, Kubernetes keeps some"
    (group,) = groups("demo")
    assert group["minReplicas"] == group["maxReplicas"] == 1


def test_the_autoscaler_brings_no_more_nodes_than_replicas_can_fill(overlay: str) -> None:
    """Of GPUs; one more node for HTTP takes what a node that is drained has to give."""
    for group in groups(overlay):
        gpus = sum(
            math.ceil(count * needs(overlay)[name].get("num_gpus", 0))
            for name, count in replicas(overlay, most=True).items()
            if group["labels"].get(next(iter(needs(overlay)[name]["label_selector"]))) == "true"
        )
        if "nvidia.com/gpu" in container(group)["resources"]["limits"]:
            assert group["maxReplicas"] <= gpus, group["groupName"]
        elif settings(overlay).model != "tiny":
            assert group["maxReplicas"] > group["minReplicas"]


def test_bounds_are_in_order(overlay: str) -> None:
    for group in groups(overlay):
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_probes_are_the_operators(overlay: str) -> None:
    for template in pod_templates(overlay):
        for each in template["spec"]["containers"]:
            assert not [key for key in each if key.endswith("Probe")]


def test_the_operators_probes_find_their_ports(overlay: str) -> None:
    """The worker's readiness asks HAProxy, at the port named `serve`."""
    port = serve_config(overlay)["http_options"]["port"]
    for template in pod_templates(overlay):
        named = {each["name"]: each["containerPort"] for each in template["spec"]["containers"][0]["ports"]}
        assert named["serve"] == port == 9001
        assert named["metrics"] == 8080


def test_workers_drain_before_they_are_stopped(overlay: str) -> None:
    for group in groups(overlay):
        command = container(group)["lifecycle"]["preStop"]["exec"]["command"]
        assert command[:3] == ["sam3-serve", "drain", "--seconds"]
        request = settings(overlay).request_timeout_s
        grace = group["template"]["spec"]["terminationGracePeriodSeconds"]
        assert request < float(command[3]) < grace
        # Pods of an old version go only after that; a cluster is deleted when it has had as long.
        assert ray_service(overlay)["spec"]["rayClusterDeletionDelaySeconds"] >= grace


def test_budgets_leave_room_to_drain_a_node() -> None:
    for overlay in ("ha", "incremental-upgrade"):
        budgets = of_kind(overlay, "PodDisruptionBudget")
        assert len(budgets) == 3
        for budget in budgets:
            spec = budget["spec"]
            assert isinstance(spec["minAvailable"], int), "all that a custom resource's pods allow"
            assert "maxUnavailable" not in spec
            (label,) = [key for key in spec["selector"]["matchLabels"] if key.startswith("sam3/")]
            assert 0 < spec["minAvailable"] < group_with(overlay, label)["minReplicas"]


def test_ha_has_no_single_pod_but_the_head_whose_state_is_in_redis() -> None:
    for overlay in ("ha", "incremental-upgrade"):
        assert all(group["minReplicas"] >= 2 for group in groups(overlay))
        assert cluster(overlay)["gcsFaultToleranceOptions"]["redisAddress"] == "redis://sam3-redis:6379"
        assert settings(overlay).pool_shards >= 2
        for server in of_kind(overlay, "StatefulSet"):
            assert "--appendonly yes" in server["spec"]["template"]["spec"]["containers"][0]["command"][-1]


def test_the_store_has_room_for_the_files(overlay: str) -> None:
    (server,) = [
        each for each in of_kind(overlay, "StatefulSet") if each["metadata"]["name"] == "sam3-valkey"
    ]
    (found,) = server["spec"]["template"]["spec"]["containers"]
    (memory,) = re.findall(r"--maxmemory (\d+)gb", found["command"][-1])
    assert settings(overlay).cold_bytes * 5 / 4 + BESIDE_FILES <= int(memory) * 2**30
    assert int(memory) * 2**30 * 5 / 4 <= quantity(found["resources"]["limits"]["memory"]), (
        "a file is rewritten"
    )


def test_nodes_spread_over_machines_that_would_take_them(overlay: str) -> None:
    for group in groups(overlay):
        spreads = group["template"]["spec"]["topologySpreadConstraints"]
        assert "topology.kubernetes.io/zone" in {each["topologyKey"] for each in spreads}
        for each in spreads:
            assert each["nodeTaintsPolicy"] == "Honor", "tainted GPU nodes are no place for HTTP"
            assert each["matchLabelKeys"] == ["ray.io/cluster"], "an upgrade's two clusters count apart"
            assert each["labelSelector"]["matchLabels"].items() <= group["labels"].items()


def test_ha_takes_requests_on_three_machines() -> None:
    for overlay in ("ha", "incremental-upgrade"):
        group = group_with(overlay, INGRESS_LABEL)
        (hosts,) = [
            each
            for each in group["template"]["spec"]["topologySpreadConstraints"]
            if each["topologyKey"] == "kubernetes.io/hostname"
        ]
        assert hosts["whenUnsatisfiable"] == "DoNotSchedule"
        assert hosts["maxSkew"] == 1
        assert hosts["minDomains"] == 3 == group["minReplicas"]


def test_the_job_is_out_of_the_way_of_the_next_image(overlay: str) -> None:
    for job in of_kind(overlay, "Job"):
        assert 0 < job["spec"]["ttlSecondsAfterFinished"] <= 600


def test_gpu_pods_tolerate_the_taint_of_gpu_nodes(overlay: str) -> None:
    for group in groups(overlay):
        on_gpu = "nvidia.com/gpu" in container(group)["resources"]["limits"]
        tolerations = group["template"]["spec"].get("tolerations", [])
        assert on_gpu == (
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in tolerations
        )
        assert container(group)["image"] == ("sam3-serve:cuda" if on_gpu else "sam3-serve:cpu")


def test_an_incremental_upgrade_needs_what_the_operator_checks() -> None:
    upgrade = ray_service("incremental-upgrade")["spec"]["upgradeStrategy"]
    options = upgrade["clusterUpgradeOptions"]
    assert upgrade["type"] == "NewClusterWithIncrementalUpgrade"
    assert cluster("incremental-upgrade")["enableInTreeAutoscaling"] is True
    assert 0 < options["stepSizePercent"] <= options["maxSurgePercent"] <= 100
    assert options["intervalSeconds"] > 0
    assert options["gatewayClassName"]
