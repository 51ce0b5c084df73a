"""The chart as its users meet it: its refusals, the effect of each value, its notes."""

import os
import re
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from scripts.helm_chart import CHART, EXAMPLES, NAME, NAMESPACE, example, merged, notes, render, values
from tests.support.kubernetes import ROOT, Manifest, check_ray_service, kubectl, read


def rendered(changes: dict[str, Any], name: str = "ha") -> tuple[Manifest, ...]:
    """An example with some values changed."""
    given = deepcopy(example(name))
    for path, value in changes.items():
        inner = given
        *parents, last = path.split(".")
        for key in parents:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return read(render(given).values())


def of(found: tuple[Manifest, ...], kind: str) -> list[Manifest]:
    return [each for each in found if each["kind"] == kind]


def pods(found: tuple[Manifest, ...]) -> dict[str, Manifest]:
    """Specifications of pods by group; "head" and the store's too."""
    (service,) = of(found, "RayService")
    check_ray_service(service)
    cluster = service["spec"]["rayClusterConfig"]
    every = {group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    for each in of(found, "StatefulSet"):
        every["store"] = each["spec"]["template"]["spec"]
    return {**every, "head": cluster["headGroupSpec"]["template"]["spec"]}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_linter_has_nothing_to_say(name: str) -> None:
    report = helm.lint(CHART, example(name))
    messages = [each for each in report["messages"] if "icon" not in str(each)]
    assert messages == []


def test_the_defaults_run_the_demo() -> None:
    assert [each for each in helm.lint(CHART)["messages"] if "icon" not in str(each)] == []
    assert merged(example("demo")) == merged({})


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("tennants", {}, "tennants"),
        ("encoder.replica", 2, "replica"),
        ("groups.decoder.maxReplicas", 4, "maxReplicas"),
        ("groups.decoder.nodes.max", "four", "max"),
        ("groups.decoder.memory", "48 GB", "memory"),
        ("groups.decoder.roles", ["decoders"], "roles"),
        ("images.model.digest", "sha256:123", "digest"),
        ("weights.from", "hub", "from"),
        ("store.maxMemory", "6Gi", "maxMemory"),
        ("monitoring.label", {}, "label"),
        ("upgrade.stepPercent", 0, "stepPercent"),
        ("env.a-b", "1", "a-b"),
        ("settings.modell", "sam3", "modell"),
        ("settings.SAM3_MODEL", "sam3", "SAM3_MODEL"),
        ("groups.decoder.memory", "500m", "memory"),
        ("groups.decoder.memory", "48", "memory"),
        ("groups.decoder.cpu", "6Gi", "cpu"),
        ("encoder.replicas", 0, "replicas"),
        ("weights.local", {"env": [{"nme": "AWS_REGION", "value": "eu"}]}, "env"),
    ],
)
def test_a_typo_is_refused_and_named(path: str, value: Any, said: str) -> None:
    with pytest.raises(helm.HelmValuesError, match=said):
        rendered({path: value})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"store.bundled": False}, r"store\.external\.cidrs"),
        ({"store": {"bundled": False, "external": {"cidrs": ["10.1.2.3/32"]}}}, r"gcs\.address"),
        ({"gcs.address": "rediss://store.example:6379"}, r"store\.external\.cidrs"),
        ({"groups.decoder.nodes": {"min": 5, "max": 2}}, r"groups\.decoder\.nodes"),
        ({"groups.decoder.image": "http"}, r"groups\.decoder\.image"),
        ({"groups.decoder": None}, "role decoder"),
        ({"groups.ingress.roles": ["pool"]}, "role ingress"),
        ({"groups.decoder.gpus": 0}, r"groups\.decoder\.gpus"),
        ({"settings.device": "cpu"}, r"settings\.device"),
        ({"decoder.replicas": 17}, r"decoder\.maxReplicas"),
        ({"weights.from": "none"}, r"weights\.from"),
        ({"budgets.ingress": 3}, r"budgets\.ingress"),
        ({"upgrade": {"incremental": True, "stepPercent": 50}}, r"upgrade\.stepPercent"),
        ({"images.model.tag": ""}, "a tag or a digest"),
        ({"env": {"SAM3_ENCODER_REPLICAS": 3}}, r"env\.SAM3_ENCODER_REPLICAS.*settings\.encoder_replicas"),
        ({"env": {"sam3_device": "cpu"}}, r"env\.sam3_device.*settings\.device"),
        ({"env": {"SAM3_CHECKPOINT": "/weights/mine.pt"}}, r"env\.SAM3_CHECKPOINT.*settings\.checkpoint"),
        ({"env": {"SAM3_MAX_QUEUED": 9}, "settings.max_queued": 8}, r"env\.SAM3_MAX_QUEUED"),
        ({"label": {"sources": ["/data"], "nodes": {"min": 2, "max": 1}}}, r"label\.nodes"),
    ],
)
def test_values_that_do_not_fit_together_are_refused_with_the_one_to_change(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(helm.HelmRenderError, match=said):
        rendered(changes)


def test_a_new_group_must_say_everything_that_a_group_needs() -> None:
    with pytest.raises(helm.HelmValuesError, match="objectStoreGiB"):
        rendered({"groups.more": {"roles": ["decoder"]}})


def test_the_schema_knows_every_value_and_values_yaml_has_every_name_of_the_schema() -> None:
    with helm.Chart.load(CHART) as chart:
        schema, defaults = chart.schema, chart.values
    assert schema is not None
    assert schema["properties"].keys() - {"global"} == defaults.keys()
    for name, part in schema["properties"].items():
        if part.get("additionalProperties") is False and name != "budgets":
            assert part["properties"].keys() == defaults[name].keys(), name


def test_images_are_named_by_digest_before_tag_and_pulled_with_secrets() -> None:
    digest = f"sha256:{'a' * 64}"
    found = rendered(
        {
            "images.model.digest": digest,
            "images.http.tag": "1.2.3",
            "images.pullSecrets": [{"name": "registry"}],
        }
    )
    specs = pods(found)
    assert specs["decoder"]["containers"][0]["image"] == f"registry.example/sam3-serve-cuda@{digest}"
    for name in ("ingress", "head", "store"):
        assert specs[name]["containers"][0]["image"] == "registry.example/sam3-serve-http:1.2.3"
    (job,) = of(found, "Job")
    for spec in [*specs.values(), job["spec"]["template"]["spec"]]:
        assert spec["imagePullSecrets"] == [{"name": "registry"}]


def test_nodes_are_chosen_by_labels_and_tolerations_of_ones_own() -> None:
    taint = {"key": "team", "operator": "Equal", "value": "vision", "effect": "NoSchedule"}
    specs = pods(
        rendered({"groups.decoder.nodeSelector": {"gpu": "h100"}, "groups.decoder.tolerations": [taint]})
    )
    assert specs["decoder"]["nodeSelector"] == {"gpu": "h100"}
    assert taint in specs["decoder"]["tolerations"]
    assert specs["encoder"]["nodeSelector"] == {}


def test_a_server_of_ones_own_takes_the_place_of_the_bundled_one() -> None:
    found = rendered(
        {
            "store.bundled": False,
            "store.external": {"cidrs": ["10.1.2.3/32"], "port": 6380},
            "gcs.address": "rediss://store.example:6380",
        }
    )
    assert of(found, "StatefulSet") == []
    assert [each["metadata"]["name"] for each in of(found, "Service")] == ["sam3"]
    (service,) = of(found, "RayService")
    cluster = service["spec"]["rayClusterConfig"]
    assert cluster["gcsFaultToleranceOptions"]["redisAddress"] == "rediss://store.example:6380"
    assert "affinity" not in pods(found)["head"]
    for name in ("sam3-to-store", "sam3-head-to-store"):
        (policy,) = [each for each in of(found, "NetworkPolicy") if each["metadata"]["name"] == name]
        (rule,) = policy["spec"]["egress"]
        assert rule["to"] == [{"ipBlock": {"cidr": "10.1.2.3/32"}}]
        assert rule["ports"] == [{"port": 6380, "protocol": "TCP"}]


def test_rendered_manifests_are_a_base_for_kustomize_with_two_images(tmp_path: Path) -> None:
    shutil.copy(ROOT / "k8s" / "rendered" / "gpu.yaml", tmp_path)
    digest = f"sha256:{'b' * 64}"
    images = [{"name": "registry.example/sam3-serve-http", "newName": "mine.example/http", "digest": digest}]
    images += [{"name": "registry.example/sam3-serve-cuda", "newName": "mine.example/cuda", "newTag": "2"}]
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"namespace": "sam3", "resources": ["gpu.yaml"], "images": images})
    )
    done = subprocess.run([kubectl(), "kustomize", tmp_path], capture_output=True, text=True, check=True)
    found = set(re.findall(r"^\s*(?:- )?image: (\S+)", done.stdout, re.MULTILINE))
    assert found == {f"mine.example/http@{digest}", "mine.example/cuda:2"}


def test_settings_and_budgets_reach_the_application_as_they_are_written() -> None:
    (service,) = of(rendered({"settings.max_queued": 1000000, "settings.warm_bytes": "10GiB"}), "RayService")
    arguments = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"]
    assert arguments["max_queued"] == 1000000
    assert arguments["warm_bytes"] == "10GiB", "before what the chart works out"


def test_embeddings_get_more_room_with_more_nodes() -> None:
    def warm(nodes: int) -> int:
        (service,) = of(rendered({"groups.encoder.nodes": {"min": nodes, "max": 8}}), "RayService")
        arguments = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"]
        return int(arguments["warm_bytes"])

    assert warm(6) == pytest.approx(3 * warm(2), abs=3)


def test_a_variable_of_ones_own_reaches_every_container_of_ray_once_and_goes_before_the_charts() -> None:
    given = {
        "SAM3_MAX_BODY_BYTES": 134217728,
        "SAM3_IMAGE_URLS": False,
        "SAM3_CORS_ORIGINS": "*",
        "RAY_health_check_period_ms": 500,
        "RAY_gcs_rpc_server_reconnect_timeout_s": 900,
    }
    expected = {**{key: str(value) for key, value in given.items()}, "SAM3_IMAGE_URLS": "false"}
    for name, spec in pods(rendered({"env": given})).items():
        if name != "store":
            variables = [(each["name"], each["value"]) for each in spec["containers"][0]["env"]]
            assert len(dict(variables)) == len(variables)
            assert expected.items() <= dict(variables).items()


@pytest.mark.parametrize("way", ["claim", "local", "image"])
def test_weights_come_without_a_volume_that_many_nodes_write(way: str) -> None:
    changes: dict[str, Any] = {
        "weights.from": way,
        "weights.image": {"reference": "registry.example/sam3-weights:1"},
    }
    if way == "claim":
        changes["weights.claim"] = {"name": "filled"}
    found = rendered(changes)
    assert of(found, "Job") == []
    claims = [each["metadata"]["name"] for each in of(found, "PersistentVolumeClaim")]
    assert claims == ["sam3-valkey"], "the store's own"
    specs = pods(found)
    for group in ("encoder", "decoder"):
        (volume,) = [each for each in specs[group]["volumes"] if each["name"] == "weights"]
        kind = {"claim": "persistentVolumeClaim", "local": "emptyDir", "image": "image"}[way]
        assert volume.keys() == {"name", kind}
        names = [each["name"] for each in specs[group]["initContainers"]]
        assert names == ["fetch-weights"] * (way == "local") + ["check-node"]
    assert "weights" not in str(specs["ingress"]["volumes"])
    tokens = [each for each in specs["decoder"]["containers"] if "sam3-hub" in str(each)]
    assert tokens == [], "serving containers never see the Hub's token"


LOCAL: dict[str, Any] = {"weights.from": "local", "weights.image": {"subPath": "models"}}
OF_ONES_OWN = {
    "image": "registry.example/aws:2",
    "command": ["aws", "s3", "cp", "s3://my bucket/sam3.pt", "/weights/sam3.pt"],
    "env": [{"name": "AWS_REGION", "value": "eu"}],
}


def fetching(changes: dict[str, Any], name: str = "label") -> list[Manifest]:
    """The init containers that fetch the checkpoint: of the service's pods, and of the label job's."""
    found = rendered(changes, name)
    (job,) = of(found, "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    specs = [*pods(found).values(), cluster["headGroupSpec"]["template"]["spec"]]
    specs += [group["template"]["spec"] for group in cluster["workerGroupSpecs"]]
    every = [each for spec in specs for each in spec.get("initContainers", [])]
    return [each for each in every if each["name"] == "fetch-weights"]


def test_weights_come_from_object_storage_by_a_command_of_ones_own() -> None:
    found = fetching({**LOCAL, "weights.local": OF_ONES_OWN})
    assert len(found) == 3
    for fetch in found:
        assert fetch["image"] == OF_ONES_OWN["image"]
        assert fetch["command"][-5:] == OF_ONES_OWN["command"]
        assert fetch["env"] == OF_ONES_OWN["env"]
        assert "sam3-hub" not in str(fetch)


def test_weights_come_from_the_hub_to_each_nodes_disk_without_a_command_of_ones_own() -> None:
    for fetch in fetching(LOCAL):
        assert fetch["image"] == "registry.example/sam3-serve-cuda:0.1.0"
        assert fetch["command"][-4:] == ["facebook/sam3", "sam3.pt", "--local-dir", "/weights"]
        assert "sam3-hub" in str(fetch["env"])


@pytest.mark.parametrize("status", [0, 7])
@pytest.mark.parametrize("local", [{}, OF_ONES_OWN])
def test_a_failed_fetch_can_be_read_for_minutes_and_a_good_one_ends_at_once(
    tmp_path: Path, status: int, local: dict[str, Any]
) -> None:
    """KubeRay deletes a pod whose init container failed at once. The fakes note what they were asked."""
    fetch = fetching({**LOCAL, "weights.local": local})[0]
    for name, ends in {"hf": status, "aws": status, "sleep": 0}.items():
        (tmp_path / name).write_text(f'#!/bin/sh\nfor w in "{name}" "$@"; do echo "$w"; done\nexit {ends}\n')
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(fetch["command"], env=environment, capture_output=True, text=True)
    program = local.get("command", ["hf"])[0]
    ran = done.stdout.splitlines()
    asked = local.get("command") or ["hf", "download", "facebook/sam3", "sam3.pt", "--local-dir", "/weights"]
    assert done.returncode == status
    assert ran == asked + (["sleep", "300"] if status else [])
    assert (f"fetch-weights: {program} ended with 7" in done.stderr) == bool(status)


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent"])
def test_every_container_of_our_pods_is_pulled_as_the_values_say(policy: str) -> None:
    found = rendered({**LOCAL, "images.pullPolicy": policy}, "label")
    text = yaml.safe_dump_all(found)
    containers = text.count("image: registry.example")
    assert containers == text.count(f"imagePullPolicy: {policy}") > 8


def test_a_folder_of_the_image_of_weights_is_mounted_for_that_kind_of_weights_alone() -> None:
    image = {"reference": "registry.example/sam3-weights:1", "subPath": "models"}
    for way in ("fetch", "claim", "local", "image"):
        spec = pods(rendered({"weights.from": way, "weights.image": image}))["decoder"]
        readers = [
            each for each in (*spec["initContainers"], *spec["containers"]) if each["name"] != "fetch-weights"
        ]
        for each in readers:
            (mount,) = [mount for mount in each["volumeMounts"] if mount["name"] == "weights"]
            assert mount.get("subPath") == ("models" if way == "image" else None)


def test_clients_outside_come_by_an_ingress_with_tls_and_the_applications_limits() -> None:
    (found,) = of(
        rendered({"ingressRoute.host": "sam3.example", "ingressRoute.className": "nginx"}), "Ingress"
    )
    assert found["spec"]["tls"] == [{"hosts": ["sam3.example"], "secretName": "sam3-tls"}]
    annotations = found["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == "64m"
    assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > 120, "a request's deadline"
    (path,) = found["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "sam3", "port": {"name": "http"}}


def test_clients_outside_come_by_a_gateway_with_tls() -> None:
    found = rendered({"gateway": {"className": "istio", "host": "sam3.example"}})
    (gateway,), (route,) = of(found, "Gateway"), of(found, "HTTPRoute")
    (listener,) = gateway["spec"]["listeners"]
    assert listener["protocol"] == "HTTPS"
    assert listener["tls"]["certificateRefs"] == [{"name": "sam3-tls"}]
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": "sam3", "port": 9001}]
    with pytest.raises(helm.HelmRenderError, match=r"gateway\.className"):
        rendered({"gateway": {"host": "sam3.example"}})


def test_logs_are_shipped_by_a_container_beside_rays() -> None:
    for name, spec in pods(rendered({"logs.ship": True})).items():
        if name != "store":
            ray, shipper = spec["containers"]
            assert ray["name"].startswith("ray-"), "the operator takes the first one for Ray's"
            assert {"name": "tmp", "mountPath": "/tmp"} in shipper["volumeMounts"]
            assert shipper["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_access_log_goes_to_the_containers_output(name: str) -> None:
    """The operator starts Ray under bash, process 1 of the container; Ray's files end with the pod."""
    (service,) = of(read(render(example(name)).values()), "RayService")
    arguments = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"]
    assert arguments["access_log"] == "/proc/1/fd/1"


def test_what_helm_says_at_the_end_names_what_a_user_must_not_do() -> None:
    assert "asks for no keys" in notes(example("demo"))
    assert "asks for no keys" not in notes(example("ha"))
    assert "managed or replicated" in notes(example("ha"))
    assert "up%7Bjob%3D%22sam3%2Fsam3%22%7D" in notes(example("ha"))


def test_values_of_several_files_go_one_over_the_other(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("groups: {decoder: {nodes: {max: 9}}}\n")
    found = values([CHART / "examples" / "ha.yaml", mine])["groups"]["decoder"]
    assert found["nodes"] == {"min": 2, "max": 9}
    assert found["gpus"] == 1


def test_a_release_of_the_same_name_in_another_namespace_shares_no_object() -> None:
    """Helm refuses to install over an object of another release."""
    found = rendered({})
    (priority,) = of(found, "PriorityClass")  # the one kind here that belongs to no namespace
    assert priority["metadata"]["name"] == f"{NAMESPACE}-{NAME}-serving"
    for spec in pods(found).values():
        assert spec["priorityClassName"] == priority["metadata"]["name"]


def test_the_chart_has_the_versions_of_the_project() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert f'\nversion = "{chart["appVersion"]}"\n' in project
    assert {image["tag"] for key, image in merged({})["images"].items() if key in ("http", "model")} == {
        chart["appVersion"]
    }
