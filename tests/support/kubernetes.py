"""The manifests that the chart renders for its examples, and their schemas."""

import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from scripts import helm_chart
from scripts.helm_chart import EXAMPLES as EXAMPLES
from scripts.helm_chart import NAMESPACE, render

ROOT = Path(__file__).resolve().parents[2]
CRD = Path(os.environ.get("KUBERAY_CRD", ROOT.parent / "shared" / "schemas" / "ray.io_rayservices.yaml"))
Manifest = dict[str, Any]


def kubectl() -> Path:
    """The program, of the package that the extra `test` installs."""
    return Path(sys.executable).parent / "kubectl"


def read(texts: Iterable[str]) -> tuple[Manifest, ...]:
    """The objects of rendered templates, as the API server gets them from Helm."""
    found = (each for text in texts for each in yaml.safe_load_all(text) if each)
    return tuple({**each, "metadata": {"namespace": NAMESPACE, **each["metadata"]}} for each in found)


@cache
def build(example: str) -> tuple[Manifest, ...]:
    """The manifests of an example. Callers must not change them."""
    return read(render(helm_chart.example(example)).values())


def of_kind(example: str, kind: str) -> list[Manifest]:
    return [manifest for manifest in build(example) if manifest["kind"] == kind]


def ray_service(example: str) -> Manifest:
    (found,) = of_kind(example, "RayService")
    return found


def cluster(example: str) -> Manifest:
    """The RayCluster's specification."""
    found: Manifest = ray_service(example)["spec"]["rayClusterConfig"]
    return found


def groups(example: str) -> list[Manifest]:
    found: list[Manifest] = cluster(example)["workerGroupSpecs"]
    return found


def fewest(example: str, group: Manifest) -> int:
    """Number of nodes of a group that the always running replicas need. An upgrade in steps writes 0 into the manifest,
    so that a new cluster begins without nodes."""
    return int(helm_chart.merged(helm_chart.example(example))["groups"][group["groupName"]]["nodes"]["min"])


def label_job(example: str) -> Manifest:
    """The job of `sam3-serve label`."""
    (found,) = of_kind(example, "RayJob")
    return found


def group_with(example: str, label: str) -> Manifest:
    """The group whose nodes carry a label."""
    (found,) = [group for group in groups(example) if group["labels"].get(label) == "true"]
    return found


def pod_templates(example: str) -> list[Manifest]:
    """The pod templates of the head and of every group."""
    return [cluster(example)["headGroupSpec"]["template"], *(group["template"] for group in groups(example))]


def all_pod_specs(example: str) -> list[Manifest]:
    """Pods of Ray, of Jobs and of StatefulSets."""
    others = [*of_kind(example, "Job"), *of_kind(example, "StatefulSet")]
    return [
        template["spec"] for template in [*pod_templates(example), *(o["spec"]["template"] for o in others)]
    ]


def serve_config(example: str) -> Manifest:
    """The Serve configuration, read as the operator reads it."""
    found: Manifest = yaml.safe_load(ray_service(example)["spec"]["serveConfigV2"])
    return found


def quantity(text: str | int) -> float:
    """A Kubernetes quantity: cores, or bytes."""
    text = str(text)
    for suffix, factor in {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "m": 1e-3}.items():
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text)


def check_ray_job(manifest: Manifest) -> None:
    """Raises jsonschema.ValidationError. Its cluster has the schema of a RayService's."""
    cluster = rayservice_schema()["properties"]["spec"]["properties"]["rayClusterConfig"]
    jsonschema.Draft7Validator(cluster).validate(manifest["spec"]["rayClusterSpec"])
    if (file := CRD.with_name("ray.io_rayjobs.yaml")).exists():
        jsonschema.Draft7Validator(_schema(file)).validate(manifest)


@cache
def rayservice_schema() -> Manifest:
    """The RayService's CRD as a JSON schema: unknown fields are errors, as `kubectl apply` treats them."""
    if not CRD.exists():
        pytest.skip(f"KubeRay's CRD is not at {CRD}: set KUBERAY_CRD")
    return _schema(CRD)


def _schema(file: Path) -> Manifest:
    crd = yaml.safe_load(file.read_text(encoding="utf-8"))
    (version,) = [version for version in crd["spec"]["versions"] if version["storage"]]
    found: Manifest = _closed(version["schema"]["openAPIV3Schema"], root=True)
    return found


def _closed(schema: Any, root: bool = False) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    found = {key: value if key in ("enum", "default") else _closed(value) for key, value in schema.items()}
    if "properties" in found:
        found["properties"] = {name: _closed(each) for name, each in schema["properties"].items()}
        if not (found.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in found):
            found["additionalProperties"] = False
    if root:
        found["properties"]["metadata"] = {"type": "object"}  # the API server's own
    return found


def check_ray_service(manifest: Manifest) -> None:
    """Raises jsonschema.ValidationError."""
    jsonschema.Draft7Validator(rayservice_schema()).validate(manifest)
