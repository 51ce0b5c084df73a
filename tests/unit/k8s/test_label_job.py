"""The job that the chart makes of `label`: valid, on nodes of its own, and a command that `sam3-serve` takes."""

import json
import shlex
from copy import deepcopy
from importlib.metadata import version
from typing import Any

import helm_python as helm
import jsonschema
import kubernetes_validate
import pytest

from scripts.helm_chart import CHART, example, render
from serve_app.cli.label_options import FORMATS
from serve_app.label.classes import parse_classes
from tests.support.kubernetes import Manifest, check_ray_job, label_job, of_kind, read
from tests.support.network import Peer, may_connect
from tests.unit.serve_app.cli.test_label import asked

JOB = "label"


def rendered(*, base: str = JOB, serve: bool = True, top: Any = None, **changes: Any) -> tuple[Manifest, ...]:
    given = deepcopy(example(base))
    given.update(top or {}, serve=serve)
    given["label"] = {**example(JOB)["label"], **changes}
    return read(render(given).values())


def job(found: tuple[Manifest, ...]) -> Manifest:
    (made,) = [each for each in found if each["kind"] == "RayJob"]
    return made


def pods(manifest: Manifest) -> list[Manifest]:
    cluster = manifest["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"]["template"], *(each["template"] for each in cluster["workerGroupSpecs"])]


@pytest.mark.parametrize("weights", ["fetch", "claim", "local", "none"])
@pytest.mark.parametrize("serve", [True, False])
def test_the_job_is_valid_with_and_without_the_service(weights: str, serve: bool) -> None:
    top: dict[str, Any] = {"weights": {"from": weights}, "monitoring": {"enabled": True}}
    if weights == "none":
        top["settings"] = {
            **example(JOB)["settings"],
            "checkpoint": "/opt/sam3.pt",
        }  # in an image of one's own
    found = rendered(serve=serve, top=top)
    check_ray_job(job(found))
    assert job(found)["spec"]["rayClusterSpec"]["rayVersion"] == version("ray")
    for each in pods(job(found)):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": each["spec"]}
        kubernetes_validate.validate(pod, "1.37", strict=True)
    assert any(each["kind"] == "RayService" for each in found) == serve
    assert any(each["kind"] == "StatefulSet" for each in found) == serve


def test_a_mistake_in_the_job_is_found() -> None:
    manifest = deepcopy(label_job(JOB))
    manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParam"] = {}
    with pytest.raises(jsonschema.ValidationError, match="rayStartParam"):
        check_ray_job(manifest)


def test_the_command_is_one_that_the_program_takes() -> None:
    words = shlex.split(job(rendered(sources=["/data/my photos", "s3://bucket/set"]))["spec"]["entrypoint"])
    assert words[:2] == ["sam3-serve", "label"]
    words[words.index("/etc/label/classes.txt")] = "pyproject.toml"  # any file that is there
    options = asked(*words[2:])
    assert options.sources == ("/data/my photos", "s3://bucket/set")
    assert options.address == "auto"
    assert options.actors == 4 * 8
    assert options.formats == ("coco", "yolo-seg")
    assert options.split_by_folder
    assert options.batch == 16


def test_a_variable_of_a_setting_that_the_chart_writes_is_refused() -> None:
    with pytest.raises(helm.HelmRenderError, match=r"env\.SAM3_DEVICE"):
        rendered(serve=False, top={"env": {"SAM3_DEVICE": "cpu"}})


def test_the_classes_are_mounted_where_the_command_looks() -> None:
    (config,) = [each for each in of_kind(JOB, "ConfigMap") if "classes.txt" in each["data"]]
    classes = parse_classes(config["data"]["classes.txt"].splitlines(), 0.5)
    assert [one.name for one in classes] == ["person", "car", "traffic cone"]
    for pod in pods(label_job(JOB)):
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        assert volumes["classes"]["configMap"]["name"] == config["metadata"]["name"]
        mounts = {each["name"]: each for each in pod["spec"]["containers"][0]["volumeMounts"]}
        assert mounts["classes"]["mountPath"] == "/etc/label"
        assert mounts["data"] == {"name": "data", "mountPath": "/data"}


def test_every_format_of_the_program_may_be_asked_for_and_no_other() -> None:
    rendered(formats=list(FORMATS))
    with pytest.raises(helm.HelmValuesError, match="formats"):
        rendered(formats=["pdf"])
    with pytest.raises(helm.HelmValuesError, match="sources"):
        rendered(sources=["it's"])
    empty: list[dict[str, Any]] = [{"claim": ""}, {"classes": ""}]
    for changes in empty:
        with pytest.raises(helm.HelmRenderError, match=f"label.{next(iter(changes))}"):
            rendered(**changes)


def test_a_change_makes_another_job_and_nothing_else_does() -> None:
    kinds: list[dict[str, Any]] = [{}, {}, {"classes": "cat"}]
    names = [job(rendered(**changes))["metadata"]["name"] for changes in kinds]
    assert names[0] == names[1] != names[2]


def test_without_sources_there_is_no_job() -> None:
    names = [each["metadata"]["name"] for each in rendered(base="gpu", sources=[])]
    assert not [name for name in names if "label" in name]


def test_gpus_are_asked_for_where_nodes_have_them_and_the_model_runs_there() -> None:
    head, worker = pods(label_job(JOB))
    assert worker["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert "nvidia.com/gpu" not in str(head["spec"]["containers"][0]["resources"])
    every = {each["name"]: each["value"] for each in head["spec"]["containers"][0]["env"]}
    assert (
        every.items()
        >= {each["name"]: each["value"] for each in worker["spec"]["containers"][0]["env"]}.items()
    )
    told = {name: value for name, value in every.items() if name.startswith("SAM3_")}
    expected = {"SAM3_MODEL": "sam3", "SAM3_DEVICE": "cuda", "SAM3_CHECKPOINT": "/weights/sam3.pt"}
    assert told == {**expected, "SAM3_COMPILE": "true"}
    demo = rendered(base="demo", nodes={"gpus": 0, "max": 3})
    assert "nvidia" not in json.dumps(job(demo))
    assert "--actors 3" in job(demo)["spec"]["entrypoint"]


def test_pods_have_no_more_rights_than_they_need() -> None:
    for pod in pods(label_job(JOB)):
        spec = pod["spec"]
        for container in [*spec["initContainers"], *spec["containers"]]:
            context = {**spec["securityContext"], **container["securityContext"]}
            assert context["runAsNonRoot"] is context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
    head, worker = pods(label_job(JOB))
    assert "serviceAccountName" not in head["spec"]
    assert worker["spec"]["automountServiceAccountToken"] is False
    assert "sam3-hub" not in str([head, worker])
    assert label_job(JOB)["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert "priorityClassName" not in worker["spec"], "requests go before"


@pytest.mark.parametrize("urls", [True, False])
def test_nodes_reach_public_addresses_only_where_that_is_said(urls: bool) -> None:
    found = rendered(imageUrls=urls)
    policies = [each for each in found if each["kind"] == "NetworkPolicy"]
    ray = {"ray.io/is-ray-node": "yes", "ray.io/group": "label", "ray.io/node-type": "worker"}
    worker = Peer("sam3", {**ray, **pods(job(found))[1]["metadata"]["labels"]})
    head = Peer("sam3", {**worker.labels, "ray.io/node-type": "head"})
    assert may_connect(policies, worker, Peer(address="8.8.8.8"), 443) == urls
    assert not may_connect(policies, worker, Peer(address="10.0.0.1"), 443)
    assert may_connect(policies, worker, head, 6379)
    operator = Peer("kuberay-system", {"app.kubernetes.io/name": "kuberay-operator"})
    assert may_connect(policies, operator, head, 8265), "it submits the job there"
    assert not may_connect(policies, Peer("elsewhere", head.labels), head, 8265)
    assert may_connect(policies, Peer("monitoring", {}), worker, 8080)


def test_a_prometheus_gets_the_figures_of_the_job() -> None:
    found = rendered(top={"monitoring": {"enabled": True}})
    (monitor,) = [
        each for each in found if each["kind"] == "PodMonitor" and each["metadata"]["name"] == "sam3-label"
    ]
    chosen = monitor["spec"]["selector"]["matchLabels"].items()
    for pod in pods(job(found)):
        assert chosen <= pod["metadata"]["labels"].items()
        (container,) = pod["spec"]["containers"]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] in [port["name"] for port in container["ports"]]


def test_the_defaults_of_the_chart_have_no_job() -> None:
    with helm.Chart.load(CHART) as chart:
        assert chart.values["label"]["sources"] == []
