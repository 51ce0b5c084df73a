"""What the folders of k8s/ build to, and the schemas of what is built."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = tuple(
    sorted(path.parent.name for path in (ROOT / "k8s" / "overlays").glob("*/kustomization.yaml"))
)
CRD = Path(os.environ.get("KUBERAY_CRD", ROOT.parent / "shared" / "schemas" / "ray.io_rayservices.yaml"))
Manifest = dict[str, Any]


def kubectl() -> Path:
    """The program, of the package that the extra `test` installs."""
    return Path(sys.executable).parent / "kubectl"


@cache
def build(overlay: str) -> tuple[Manifest, ...]:
    """The manifests of an overlay. Callers must not change them."""
    command = [kubectl(), "kustomize", str(ROOT / "k8s" / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower(), done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, kind: str) -> list[Manifest]:
    return [manifest for manifest in build(overlay) if manifest["kind"] == kind]


def ray_service(overlay: str) -> Manifest:
    (found,) = of_kind(overlay, "RayService")
    return found


def cluster(overlay: str) -> Manifest:
    """The RayCluster's specification."""
    found: Manifest = ray_service(overlay)["spec"]["rayClusterConfig"]
    return found


def groups(overlay: str) -> list[Manifest]:
    found: list[Manifest] = cluster(overlay)["workerGroupSpecs"]
    return found


def group_with(overlay: str, label: str) -> Manifest:
    """The group whose nodes carry a label."""
    (found,) = [group for group in groups(overlay) if group["labels"].get(label) == "true"]
    return found


def pod_templates(overlay: str) -> list[Manifest]:
    """Of the head and of every group."""
    return [cluster(overlay)["headGroupSpec"]["template"], *(group["template"] for group in groups(overlay))]


def all_pod_specs(overlay: str) -> list[Manifest]:
    """Ray's pods, and those of Jobs and StatefulSets."""
    others = [*of_kind(overlay, "Job"), *of_kind(overlay, "StatefulSet")]
    return [
        template["spec"] for template in [*pod_templates(overlay), *(o["spec"]["template"] for o in others)]
    ]


def serve_config(overlay: str) -> Manifest:
    """The Serve configuration, read as the operator reads it."""
    found: Manifest = yaml.safe_load(ray_service(overlay)["spec"]["serveConfigV2"])
    return found


def quantity(text: str | int) -> float:
    """A Kubernetes quantity: cores, or bytes."""
    text = str(text)
    for suffix, factor in {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "m": 1e-3}.items():
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text)


@cache
def rayservice_schema() -> Manifest:
    """The RayService's CRD as a JSON schema: unknown fields are errors, as `kubectl apply` treats them."""
    if not CRD.exists():
        pytest.skip(f"KubeRay's CRD is not at {CRD}: set KUBERAY_CRD")
    crd = yaml.safe_load(CRD.read_text(encoding="utf-8"))
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
