"""What docs/kubernetes.md tells people to type is there: folders, options, secrets."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click

from serve_app.cli.main import main
from tests.support.kubernetes import ROOT, all_pod_specs, kubectl, of_kind, pod_templates

GUIDE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^( *)```(\w+)\n(.*?)^ *```", GUIDE, re.MULTILINE | re.DOTALL)
LINES = [
    line.strip()
    for _, kind, text in BLOCKS
    if kind == "bash"
    for line in text.replace("\\\n", " ").splitlines()
]


def starting(words: str) -> list[list[str]]:
    """The words of the commands that start so, without comments."""
    return [shlex.split(line, comments=True) for line in LINES if line.startswith(words)]


def test_the_commands_of_the_program_are_understood() -> None:
    commands = starting("sam3-serve ")
    assert {words[1] for words in commands} == {"keys", "plan"}
    for words in commands:
        command: click.Command = main
        rest = words[1:]
        while isinstance(command, click.Group):
            command = command.commands[rest.pop(0)]
        command.make_context(command.name, rest)


def test_the_overlays_are_those_that_there_are() -> None:
    table = set(re.findall(r"^\| `([a-z-]+)` \|", GUIDE, re.MULTILINE))
    there = {path.parent.name for path in (ROOT / "k8s" / "overlays").glob("*/kustomization.yaml")}
    assert table == there
    applied = {words[-1].removeprefix("k8s/overlays/") for words in starting("kubectl apply -k")}
    assert applied <= there


def secrets(overlay: str) -> dict[str, set[str]]:
    """The secrets that an overlay's pods need, and the keys that are looked for in them where they are named."""
    found: dict[str, set[str]] = {}
    for spec in all_pod_specs(overlay):
        for volume in spec.get("volumes", []):
            if "secret" in volume:
                found.setdefault(volume["secret"]["secretName"], set())
        for variable in (each for container in spec["containers"] for each in container.get("env", [])):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                found.setdefault(reference["name"], set()).add(reference["key"])
        for reference in (each for container in spec["containers"] for each in container.get("envFrom", [])):
            if "secretRef" in reference:
                found.setdefault(reference["secretRef"]["name"], set()).add("SAM3_STORE")
    return found


def test_every_secret_that_is_needed_is_made_under_its_name_and_keys() -> None:
    made = {
        words[4]: {
            re.sub(r"^--from-(?:file|literal)=([^=]+).*", r"\1", word) for word in words if "--from" in word
        }
        for words in starting("kubectl create secret generic")
    }
    needed: dict[str, set[str]] = {}
    for overlay in ("gpu", "ha"):
        for name, keys in secrets(overlay).items():
            needed.setdefault(name, set()).update(keys)
    assert needed.keys() == made.keys()
    assert all(needed[name] <= keys for name, keys in made.items())
    assert made["sam3-api-keys"] == {"keys.json"}
    assert secrets("demo").keys() == {"sam3-store"}
    assert "sam3-hub" not in secrets("air-gapped")


def test_an_overlay_of_ones_own_puts_every_image_in_ones_own_registry(tmp_path: Path) -> None:
    (text,) = [text for _, kind, text in BLOCKS if kind == "yaml"]
    copy = tmp_path / "k8s"
    shutil.copytree(ROOT / "k8s", copy)
    mine = copy / "overlays" / "mine" / "kustomization.yaml"
    mine.parent.mkdir()
    mine.write_text(text.replace("../demo", "../gpu"))
    built = subprocess.run(
        [kubectl(), "kustomize", str(mine.parent)], capture_output=True, text=True, check=True
    )
    images = re.findall(r"^\s*(?:- )?image: (\S+)", built.stdout, re.MULTILINE)
    assert len(images) > len(pod_templates("gpu"))
    assert {image.partition(":")[0] for image in images} == {"registry.example/sam3-serve"}
    assert {image.partition(":")[2] for image in images} == {"cpu", "cuda"}


def test_names_are_those_that_the_operator_will_give() -> None:
    """The Service's is the RayService's, and `-serve-svc`."""
    (service,), (namespace,) = of_kind("gpu", "RayService"), of_kind("gpu", "Namespace")
    assert set(re.findall(r"svc/(\S+)", " ".join(LINES))) == {f"{service['metadata']['name']}-serve-svc"}
    named = set(re.findall(r"(?:-n|--namespace) (\S+)", " ".join(LINES)))
    assert named == {namespace["metadata"]["name"], "kuberay-system"}
