"""Every overlay builds to objects that Kubernetes, KubeRay and Ray Serve accept as they are written."""

import json
from copy import deepcopy

import jsonschema
import kubernetes_validate
import pytest
from pydantic import BaseModel
from ray.serve.schema import ServeDeploySchema

from scripts.k8s_config import VARIANTS, files, settings_of
from serve_app.settings import Settings
from tests.support.kubernetes import (
    OVERLAYS,
    Manifest,
    build,
    check_ray_service,
    cluster,
    pod_templates,
    ray_service,
    serve_config,
)

CUSTOM = {"RayService", "PodMonitor", "PrometheusRule"}
VERSIONS = ("1.35", "1.36", "1.37")


def test_generated_files_are_up_to_date() -> None:
    stale = [path for path, text in files().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run python -m scripts.k8s_config"


@pytest.fixture(scope="module")
def core() -> list[Manifest]:
    """Every core object of every overlay, and Ray's pods as such objects; equal ones once."""
    every = [
        manifest
        for overlay in OVERLAYS
        for manifest in (
            *(found for found in build(overlay) if found["kind"] not in CUSTOM),
            *({"apiVersion": "v1", "kind": "Pod", **template} for template in pod_templates(overlay)),
        )
    ]
    return list({json.dumps(manifest, sort_keys=True): manifest for manifest in every}.values())


@pytest.mark.parametrize("version", VERSIONS)
def test_core_objects_are_valid(core: list[Manifest], version: str) -> None:
    assert {"Namespace", "NetworkPolicy", "Pod", "StatefulSet", "Job"} <= {each["kind"] for each in core}
    for manifest in core:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_mistake_in_a_core_object_is_found() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", **deepcopy(pod_templates("demo")[0])}
    pod["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_ray_service_is_valid(overlay: str) -> None:
    check_ray_service(ray_service(overlay))


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


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_serve_configuration_is_valid_and_wholly_understood(overlay: str) -> None:
    config = serve_config(overlay)
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


def test_the_arguments_are_the_variants_settings() -> None:
    for variant in VARIANTS:
        overlay = variant.folder.removeprefix("overlays/")
        if overlay in OVERLAYS:
            (application,) = serve_config(overlay)["applications"]
            assert Settings(**application["args"]) == settings_of(variant)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_is_the_version_that_is_installed(overlay: str) -> None:
    from importlib.metadata import version

    assert cluster(overlay)["rayVersion"] == version("ray")
