"""Every example gives objects that Kubernetes, KubeRay and Ray Serve accept as they are written."""

import json
from copy import deepcopy

import jsonschema
import kubernetes_validate
import pytest
from pydantic import BaseModel
from ray.serve.schema import ServeDeploySchema

from deployments.config import DECODER, ENCODER
from deployments.resources import Machine, plan
from scripts.helm_chart import example, manifests
from scripts.k8s_config import ENVIRONMENT, HEAD, K8S, RENDERED, SCHEMA, environment, schema
from serve_app.replica_numbers import wishes
from serve_app.settings import Settings
from tests.support.kubernetes import (
    EXAMPLES,
    Manifest,
    build,
    check_ray_service,
    cluster,
    pod_templates,
    ray_service,
    serve_config,
)

CUSTOM = {"RayService", "RayJob", "PodMonitor", "PrometheusRule", "Gateway", "HTTPRoute"}
VERSIONS = ("1.35", "1.36", "1.37")


def test_the_environment_is_up_to_date() -> None:
    assert ENVIRONMENT.read_text(encoding="utf-8") == environment(), "run python -m scripts.k8s_config"


def test_the_schema_of_values_knows_every_setting() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema(), "run python -m scripts.k8s_config"


@pytest.mark.parametrize("name", RENDERED)
def test_committed_manifests_are_what_the_chart_renders(name: str) -> None:
    text = (K8S / "rendered" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text == HEAD + manifests(example(name)), "run python -m scripts.k8s_config"


@pytest.fixture(scope="module")
def core() -> list[Manifest]:
    """Every core object of every example, and Ray's pods as such objects; equal ones once."""
    every = [
        manifest
        for name in EXAMPLES
        for manifest in (
            *(found for found in build(name) if found["kind"] not in CUSTOM),
            *({"apiVersion": "v1", "kind": "Pod", **template} for template in pod_templates(name)),
        )
    ]
    return list({json.dumps(manifest, sort_keys=True): manifest for manifest in every}.values())


@pytest.mark.parametrize("version", VERSIONS)
def test_core_objects_are_valid(core: list[Manifest], version: str) -> None:
    assert {"NetworkPolicy", "Pod", "StatefulSet", "Job", "Service", "PodDisruptionBudget"} <= {
        each["kind"] for each in core
    }
    for manifest in core:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_mistake_in_a_core_object_is_found() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", **deepcopy(pod_templates("demo")[0])}
    pod["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_ray_service_is_valid(name: str) -> None:
    check_ray_service(ray_service(name))


@pytest.mark.parametrize("field", ["maxReplica", "labelss"])
def test_an_unknown_field_of_the_ray_service_is_found(field: str) -> None:
    manifest = deepcopy(ray_service("demo"))
    manifest["spec"]["rayClusterConfig"]["workerGroupSpecs"][0][field] = {}
    with pytest.raises(jsonschema.ValidationError, match=field):
        check_ray_service(manifest)


def unknown_keys(document: Manifest, model: type[BaseModel], path: str = "") -> list[str]:
    """Keys that the schema would silently ignore, in nested models too."""
    found = [f"{path}{key}" for key in document if key not in model.model_fields]
    for name, field in model.model_fields.items():
        inner = [each for each in (field.annotation, *getattr(field.annotation, "__args__", ())) if each]
        models = [each for each in inner if isinstance(each, type) and issubclass(each, BaseModel)]
        value = document.get(name)
        if models and value is not None:
            for each in value if isinstance(value, list) else [value]:
                found += unknown_keys(each, models[0], f"{path}{name}.")
    return found


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_serve_configuration_is_valid_and_wholly_understood(name: str) -> None:
    config = serve_config(name)
    ServeDeploySchema.model_validate(config)
    assert unknown_keys(config, ServeDeploySchema) == []


def test_an_unknown_key_of_the_serve_configuration_is_found() -> None:
    config = deepcopy(serve_config("demo"))
    config["applications"][0]["deployments"][0]["ray_actor_options"]["num_cpu"] = 1
    config["http_options"]["prt"] = 1
    assert unknown_keys(config, ServeDeploySchema) == [
        "http_options.prt",
        "applications.deployments.ray_actor_options.num_cpu",
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_arguments_are_settings_and_replicas_book_what_the_application_would(name: str) -> None:
    (application,) = serve_config(name)["applications"]
    settings = Settings(**application["args"])
    nowhere = Machine(node_cpus=(), gpus=0, object_store_bytes=0)  # built before there is a worker
    parts = plan(wishes(settings), nowhere)
    booked = {each["name"]: each["ray_actor_options"] for each in application["deployments"]}
    for name, share in ((ENCODER, parts.encoder), (DECODER, parts.decoder)):
        assert _share(booked[name]) == (share.num_cpus, share.num_gpus)


def _share(options: Manifest) -> tuple[float, float]:
    return options["num_cpus"], options.get("num_gpus", 0)


@pytest.mark.parametrize("name", EXAMPLES)
def test_ray_is_the_version_that_is_installed(name: str) -> None:
    from importlib.metadata import version

    assert cluster(name)["rayVersion"] == version("ray")
