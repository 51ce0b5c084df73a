"""The nodes have the resources that replicas ask for, and enough pods keep running when nodes leave."""

import math
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployments.config import DECODER, ENCODER, INGRESS
from deployments.resources import STORE_SHARE, Machine, plan
from deployments.store.server import BESIDE_FILES
from scripts import helm_chart
from scripts.helm_chart import render
from serve_app.replica_numbers import rules, wishes
from serve_app.settings import Settings
from tests.support.card_memory import check_memory
from tests.support.kubernetes import (
    EXAMPLES,
    Manifest,
    all_pod_specs,
    cluster,
    fewest,
    group_with,
    groups,
    of_kind,
    pod_templates,
    quantity,
    ray_service,
    read,
    serve_config,
)

INGRESS_LABEL, ENCODER_LABEL, DECODER_LABEL, POOL_LABEL = (
    f"sam3/{role}" for role in ("ingress", "encoder", "decoder", "pool")
)
IN_STEPS = "incremental-upgrade"
"""Its groups begin without nodes: the replicas bring them."""
PROCESS_BYTES = {INGRESS: 1.5e9, ENCODER: 8e9, DECODER: 7e9}
TINY_PROCESS_BYTES = {INGRESS: 0.4e9, ENCODER: 0.9e9, DECODER: 0.9e9}
"""Host memory of one replica: its libraries, and at full size the checkpoint (3.4 GB) while it is loaded. Measured
for `tiny` (proportional set size): 0.14, 0.69 and 0.70e9."""
NODE_BYTES = 1.0e9
"""Raylet, agents, HAProxy."""


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def settings(example: str) -> Settings:
    (application,) = serve_config(example)["applications"]
    return Settings(**application["args"])


def needs(example: str) -> dict[str, dict[str, Any]]:
    (application,) = serve_config(example)["applications"]
    return {each["name"]: each["ray_actor_options"] for each in application["deployments"]}


def replicas(example: str, most: bool) -> dict[str, int]:
    """Number of replicas of each deployment: the ones that are always there, or the most there can be."""
    found = settings(example)
    scaled = {ENCODER: rules(found, "encoder"), DECODER: rules(found, "decoder")}
    return {
        INGRESS: found.ingress_replicas,
        **{name: rule.most if most else rule.hot for name, rule in scaled.items()},
    }


def container(group: Manifest) -> Manifest:
    found: Manifest = group["template"]["spec"]["containers"][0]
    return found


def share(example: str, group: Manifest, nodes: int, most: bool) -> dict[str, int]:
    """Replicas of each deployment on one node of the group, spread evenly."""
    return {
        name: math.ceil(count / nodes)
        for name, count in replicas(example, most).items()
        if all(
            group["labels"].get(label) == value
            for label, value in needs(example)[name]["label_selector"].items()
        )
    }


def test_every_deployment_and_the_pool_have_nodes(example: str) -> None:
    for label in (INGRESS_LABEL, ENCODER_LABEL, DECODER_LABEL, POOL_LABEL):
        assert group_with(example, label)["maxReplicas"] > 0
    key, _, value = settings(example).pool_nodes.partition("=")
    assert group_with(example, key)["labels"][key] == value


@pytest.mark.parametrize("most", [False, True])
def test_replicas_fit_the_nodes(example: str, most: bool) -> None:
    for group in groups(example):
        nodes = group["maxReplicas"] if most else fewest(example, group)
        if nodes == 0:
            assert settings(example).scale_to_zero_after_s
            continue
        resources = container(group)["resources"]
        cpus = gpus = 0.0
        for name, count in share(example, group, nodes, most).items():
            cpus += count * needs(example)[name].get("num_cpus", 1)
            gpus += count * needs(example)[name].get("num_gpus", 0)
        assert cpus <= quantity(resources["requests"]["cpu"]), (group["groupName"], cpus)
        assert gpus <= quantity(resources["limits"].get("nvidia.com/gpu", 0)), (group["groupName"], gpus)


def test_memory_holds_the_object_store_and_the_processes(example: str) -> None:
    tiny = settings(example).model == "tiny"
    for group in groups(example):
        store = int(group["rayStartParams"]["object-store-memory"])
        used = store + NODE_BYTES
        for name, count in share(example, group, max(1, fewest(example, group)), most=False).items():
            used += count * (TINY_PROCESS_BYTES if tiny else PROCESS_BYTES)[name]
        if group["labels"].get(POOL_LABEL) == "true":
            used += 2 * int(settings(example).cold_bytes) / max(1, fewest(example, group))
        assert used <= quantity(container(group)["resources"]["limits"]["memory"]), (group["groupName"], used)


def test_embeddings_fit_the_object_stores_that_are_always_there(example: str) -> None:
    """An embedding lies where it was encoded."""
    group = group_with(example, ENCODER_LABEL)
    store = int(group["rayStartParams"]["object-store-memory"]) * max(1, fewest(example, group))
    assert int(settings(example).warm_bytes) <= STORE_SHARE * store


def test_nothing_is_left_to_the_machine_that_happens_to_be_there(example: str) -> None:
    found = settings(example)
    undecided = {name for name in found.model_dump() if getattr(found, name) == "auto"}
    of_a_device = {"dtype", "hot_bytes", "ingress_threads", "encoder_threads", "decoder_threads"}
    of_one_machine = {"object_store_bytes"}
    of_other_settings = {"encoder_max_replicas", "decoder_max_replicas", "shared_in_flight", "video"}
    without_gpus = {"encoder_num_gpus", "decoder_num_gpus"} if found.device == "cpu" else set()
    assert undecided <= of_a_device | of_one_machine | of_other_settings | without_gpus


def test_pods_ask_for_the_memory_that_they_may_use(example: str) -> None:
    for template in pod_templates(example):
        resources = template["spec"]["containers"][0]["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_replicas_fit_the_smallest_gpu(example: str) -> None:
    found = settings(example)
    nowhere = Machine(
        node_cpus=(), gpus=0, object_store_bytes=0
    )  # as the builder sees a cluster without workers
    check_memory(found, plan(wishes(found), nowhere))


def test_pods_with_gpus_are_guaranteed_and_those_for_http_may_use_idle_cores(example: str) -> None:
    """Kubernetes calls a pod Guaranteed when the limits of each container, init containers too, equal its requests."""
    for group in groups(example):
        spec = group["template"]["spec"]
        every = [each["resources"] for each in [*spec.get("initContainers", []), *spec["containers"]]]
        if "nvidia.com/gpu" in container(group)["resources"]["limits"]:
            assert all(each["requests"] == each["limits"] and "cpu" in each["limits"] for each in every)
        elif example != "demo":
            assert "cpu" not in container(group)["resources"]["limits"]


def test_the_head_serves_nothing(example: str) -> None:
    head = cluster(example)["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert not any(label.startswith("sam3/") for label in head.get("labels", {}))


def test_demo_is_one_small_node() -> None:
    pods = [spec["containers"][0]["resources"]["requests"] for spec in all_pod_specs("demo")]
    pods.append(cluster("demo")["autoscalerOptions"]["resources"]["requests"])
    assert sum(quantity(each["cpu"]) for each in pods) <= 3.8, "of 4 cores, Kubernetes keeps some"
    assert sum(quantity(each["memory"]) for each in pods) <= 7.5 * 2**30, "of 8 GiB, too"
    (group,) = groups("demo")
    assert group["minReplicas"] == group["maxReplicas"] == 1


def test_the_autoscaler_brings_no_more_nodes_than_replicas_can_fill(example: str) -> None:
    """The GPU nodes are no more than replicas fill. One more node for HTTP takes the replicas of a drained node."""
    for group in groups(example):
        gpus = sum(
            math.ceil(count * needs(example)[name].get("num_gpus", 0))
            for name, count in replicas(example, most=True).items()
            if group["labels"].get(next(iter(needs(example)[name]["label_selector"]))) == "true"
        )
        if "nvidia.com/gpu" in container(group)["resources"]["limits"]:
            assert group["maxReplicas"] <= gpus, group["groupName"]
        elif settings(example).model != "tiny":
            assert group["maxReplicas"] > group["minReplicas"]


def test_bounds_are_in_order(example: str) -> None:
    for group in groups(example):
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_only_readiness_is_asked_otherwise_than_the_operator_would(example: str) -> None:
    """It keeps a probe that it finds (pod.go, `if rayContainer.ReadinessProbe == nil`). Its own fails at once."""
    head, *workers = pod_templates(example)
    assert not [key for key in head["spec"]["containers"][0] if key.endswith("Probe")]
    for template in workers:
        found = template["spec"]["containers"][0]
        assert "livenessProbe" not in found
        probe = found["readinessProbe"]
        assert probe["failureThreshold"] >= 3
        assert probe["timeoutSeconds"] > 3 * 4, "three questions of 4 s each"
        (command,) = probe["exec"]["command"][2:]
        assert "http://localhost:52365/api/local_raylet_healthz" in command
        assert "http://localhost:9001/-/healthz" in command


def test_clients_come_to_a_node_when_the_application_has_answered_there(tmp_path: Path) -> None:
    """The probe itself, with a wget that answers as told. The Service holds nodes of every cluster that there is, and
    one that an upgrade builds is not to answer 503."""
    (group,) = [each for each in groups("ha") if each["groupName"] == "ingress"]
    command = container(group)["readinessProbe"]["exec"]["command"]
    (tmp_path / "wget").write_text(
        '#!/bin/sh\ncat "$ANSWERS/$(basename "$(echo "$*" | tr " " "\\n" | tail -n 1)")"\n'
    )
    (tmp_path / "wget").chmod(0o755)
    command = [word.replace("/tmp/answered", str(tmp_path / "answered")) for word in command]

    def ready(application: str, raylet: str = "success", proxy: str = "success") -> bool:
        answers = {"readiness": application, "local_raylet_healthz": raylet, "healthz": proxy}
        for name, text in answers.items():
            (tmp_path / name).write_text(text)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ANSWERS": str(tmp_path)}
        return subprocess.run(command, env=environment, capture_output=True).returncode == 0

    assert not ready('{"status":"not ready"}')
    assert not ready("")
    assert ready('{"status":"ready"}')
    assert ready('{"status":"not ready"}'), "503 with Retry-After says more than a refused connection"
    assert not ready('{"status":"ready"}', raylet="")
    assert not ready('{"status":"ready"}', proxy="")


def test_nodes_without_clients_are_ready_before_the_application_is(example: str) -> None:
    for group in groups(example):
        assert ("readiness" in container(group)["readinessProbe"]["exec"]["command"][2]) == (
            group["labels"].get(INGRESS_LABEL) == "true"
        )


def test_clients_reach_the_nodes_that_take_requests_alone(example: str) -> None:
    (service,) = [each for each in of_kind(example, "Service") if each["metadata"]["name"] == "sam3"]
    selected = service["spec"]["selector"].items()
    for group in groups(example):
        labels = {**group["template"]["metadata"]["labels"], **group["labels"]}
        assert (selected <= labels.items()) == (group["labels"].get(INGRESS_LABEL) == "true")


def test_the_operators_probes_find_their_ports(example: str) -> None:
    """The worker's readiness asks HAProxy, at the port named `serve`."""
    port = serve_config(example)["http_options"]["port"]
    for template in pod_templates(example):
        named = {each["name"]: each["containerPort"] for each in template["spec"]["containers"][0]["ports"]}
        assert named["serve"] == port == 9001
        assert named["metrics"] == 8080


def test_workers_drain_before_they_are_stopped(example: str) -> None:
    for group in groups(example):
        command = container(group)["lifecycle"]["preStop"]["exec"]["command"]
        assert command[:3] == ["sam3-serve", "drain", "--seconds"]
        request = settings(example).request_timeout_s
        grace = group["template"]["spec"]["terminationGracePeriodSeconds"]
        assert request < float(command[3]) < grace
        # Pods of an old version go only after that; a cluster is deleted when it has had as long.
        assert ray_service(example)["spec"]["rayClusterDeletionDelaySeconds"] >= grace


def test_budgets_leave_room_to_drain_a_node() -> None:
    for example in ("ha", "incremental-upgrade"):
        budgets = of_kind(example, "PodDisruptionBudget")
        assert len(budgets) == 3
        for budget in budgets:
            spec = budget["spec"]
            assert isinstance(spec["minAvailable"], int), "all that a custom resource's pods allow"
            assert "maxUnavailable" not in spec
            (label,) = [key for key in spec["selector"]["matchLabels"] if key.startswith("sam3/")]
            assert 0 < spec["minAvailable"] < fewest(example, group_with(example, label))


def test_ha_has_no_single_pod_but_the_head_whose_state_is_on_the_stores_server() -> None:
    for example in ("ha", "incremental-upgrade", "eight-gpus"):
        assert all(fewest(example, group) >= 2 for group in groups(example))
        options = cluster(example)["gcsFaultToleranceOptions"]
        assert options["redisAddress"] == "redis://sam3-valkey:6379"
        assert settings(example).pool_shards >= 2
        (server,) = of_kind(example, "StatefulSet")
        command = server["spec"]["template"]["spec"]["containers"][0]["command"][-1]
        assert "--appendonly yes --appendfsync everysec" in command
        assert "--maxmemory-policy noeviction" in command
        (rule,) = cluster(example)["headGroupSpec"]["template"]["spec"]["affinity"]["podAntiAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert rule["topologyKey"] == "kubernetes.io/hostname"
        assert rule["labelSelector"] == server["spec"]["selector"], "one machine must not take both"


def test_workers_outlive_a_head_that_is_away_for_long() -> None:
    """The operator sets 600 s, unless it finds the variable in `env`; it does not look into `envFrom`
    (common/pod.go, configureGCSFaultTolerance)."""
    for group in groups("ha"):
        assert {"name": "RAY_gcs_rpc_server_reconnect_timeout_s", "value": "3600"} in container(group)["env"]
    assert all("reconnect" not in str(container(group)["env"]) for group in groups("gpu"))


def test_pods_of_a_silent_machine_are_deleted_soon(example: str) -> None:
    """Kubernetes itself tolerates five minutes. The operator counts a pod that terminates as the head until its Node is
    gone (raycluster_controller.go, reconcilePods: `len(headPods.Items) == 1`)."""
    for spec in [spec for spec in all_pod_specs(example) if spec.get("restartPolicy") != "OnFailure"]:
        soon = {
            each["key"]: each["tolerationSeconds"]
            for each in spec["tolerations"]
            if each["effect"] == "NoExecute"
        }
        assert soon == {"node.kubernetes.io/not-ready": 30, "node.kubernetes.io/unreachable": 30}


def test_the_store_has_room_for_the_files(example: str) -> None:
    (server,) = [
        each for each in of_kind(example, "StatefulSet") if each["metadata"]["name"] == "sam3-valkey"
    ]
    (found,) = server["spec"]["template"]["spec"]["containers"]
    ((number, unit),) = re.findall(r"--maxmemory (\d+)([mg])b", found["command"][-1])
    memory = int(number) * {"m": 2**20, "g": 2**30}[unit]
    assert settings(example).cold_bytes * 5 / 4 + BESIDE_FILES <= memory
    assert memory * 5 / 4 <= quantity(found["resources"]["limits"]["memory"]), "a file is rewritten"


def test_nodes_spread_over_machines_that_would_take_them(example: str) -> None:
    for group in groups(example):
        spreads = group["template"]["spec"]["topologySpreadConstraints"]
        keys = {each["topologyKey"] for each in spreads}
        assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        for each in spreads:
            assert each["nodeTaintsPolicy"] == "Honor", "tainted GPU nodes are no place for HTTP"
            assert each["matchLabelKeys"] == ["ray.io/cluster"], "an upgrade's two clusters count apart"
            assert each["labelSelector"]["matchLabels"] == {"ray.io/group": group["groupName"]}


def test_ha_takes_requests_on_three_machines() -> None:
    for example in ("ha", "incremental-upgrade"):
        group = group_with(example, INGRESS_LABEL)
        (hosts,) = [
            each
            for each in group["template"]["spec"]["topologySpreadConstraints"]
            if each["topologyKey"] == "kubernetes.io/hostname"
        ]
        assert hosts["whenUnsatisfiable"] == "DoNotSchedule"
        assert hosts["maxSkew"] == 1
        assert hosts["minDomains"] == 3 == fewest(example, group)


def test_a_job_that_failed_stays_to_be_read_and_a_changed_one_has_another_name() -> None:
    (job,) = of_kind("gpu", "Job")
    assert "ttlSecondsAfterFinished" not in job["spec"], "it would take the log of a failure along"
    assert job["spec"]["activeDeadlineSeconds"] > 0
    other = {**helm_chart.example("gpu"), "weights": {"from": "fetch", "file": "other.pt"}}
    (changed,) = [each for each in read(render(other).values()) if each["kind"] == "Job"]
    assert changed["metadata"]["name"] != job["metadata"]["name"]


def test_gpu_pods_tolerate_the_taint_of_gpu_nodes(example: str) -> None:
    for group in groups(example):
        on_gpu = "nvidia.com/gpu" in container(group)["resources"]["limits"]
        tolerations = group["template"]["spec"].get("tolerations", [])
        assert on_gpu == (
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in tolerations
        )
        if example != "demo":
            name = "registry.example/sam3-serve-" + ("cuda" if on_gpu else "http")
            assert container(group)["image"].startswith(f"{name}:")


def test_a_gpu_node_is_checked_before_the_model_is_loaded() -> None:
    for group in groups("ha"):
        commands = [each["command"] for each in group["template"]["spec"].get("initContainers", [])]
        if "nvidia.com/gpu" in container(group)["resources"]["limits"]:
            ((*program, hold, held, driver, weights, file, within, seconds),) = commands
            assert program == ["python", "-m", "serve_app.node_check"]
            assert (hold, float(held) >= 60) == ("--hold", True), "else KubeRay deletes the log at once"
            assert (driver, weights, within) == ("--driver", "--weights", "--within")
            assert file == str(settings("ha").checkpoint)
            (check,) = group["template"]["spec"]["initContainers"]
            assert check["env"] == [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "none"}], (
                "the driver and no GPU"
            )
            assert float(seconds) > 0
        else:
            assert commands == []


def test_an_incremental_upgrade_needs_what_the_operator_checks() -> None:
    upgrade = ray_service("incremental-upgrade")["spec"]["upgradeStrategy"]
    options = upgrade["clusterUpgradeOptions"]
    assert upgrade["type"] == "NewClusterWithIncrementalUpgrade"
    assert cluster("incremental-upgrade")["enableInTreeAutoscaling"] is True
    assert 0 < options["stepSizePercent"] <= options["maxSurgePercent"] <= 100
    assert all(group["minReplicas"] == 0 for group in groups("incremental-upgrade")), "as in KubeRay's sample"
    assert options["intervalSeconds"] > 0
    assert options["gatewayClassName"]
