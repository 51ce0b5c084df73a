"""Everything that docs/kubernetes.md tells people to type exists: files, options, secrets, names."""

import re
import shlex
import textwrap
from pathlib import Path

import click
import pytest
import yaml

from scripts.helm_chart import CHART, EXAMPLES, example, render, values
from serve_app.cli.main import main
from tests.support.kubernetes import ROOT, all_pod_specs, build, of_kind, quantity, read

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


def test_the_examples_are_those_that_there_are() -> None:
    table = re.findall(r"^\| `([a-z-]+)` \| .* \| (`[a-z-`, ]+`) \|$", GUIDE, re.MULTILINE)
    assert {name: tuple(re.findall(r"[a-z-]+", files)) for name, files in table} == dict(EXAMPLES)
    used = {file for files in EXAMPLES.values() for file in files}
    assert used == {path.stem for path in (CHART / "examples").glob("*.yaml")}


def test_a_new_user_finds_every_file_up_to_the_first_command_that_needs_a_cluster(tmp_path: Path) -> None:
    """The test uses a clean folder with the repository's files, and values of one's own as the guide has them."""
    mine = tmp_path / "mine.yaml"
    mine.write_text(textwrap.dedent(next(text for _, kind, text in BLOCKS if kind == "yaml")))
    commands = [shlex.split(line, comments=True) for line in LINES]
    files = {
        words[place + 1]
        for words in commands
        for place, word in enumerate(words[:-1])
        if word in ("--values", "--filename") and words[place + 1] != "-"
    }
    files -= {"mine.yaml"}
    assert len(files) >= 3
    assert [file for file in files if not (ROOT / file).is_file()] == []
    installs = [words for words in commands if words[:2] == ["helm", "upgrade"] and "sam3" in words]
    assert len(installs) == 3
    for words in installs:
        given = [words[place + 1] for place, word in enumerate(words) if word == "--values"]
        assert given[-1] == "mine.yaml", "after the example"
        found = read(render(values([*(ROOT / file for file in given[:-1]), mine])).values())
        text = yaml.safe_dump_all(found)
        images = set(re.findall(r"^\s*(?:- )?image: (\S+)", text, re.MULTILINE))
        assert images
        assert {image.partition("/")[0] for image in images} == {"registry.example"}, "none of Docker Hub's"
        assert ("sam3-serve-cuda" in text) == ("demo.yaml" not in str(given)), "GPU nodes keep their image"


def test_the_other_values_of_the_guide_are_values_of_the_chart() -> None:
    for _, kind, text in BLOCKS:
        if kind == "yaml":
            changes = yaml.safe_load(textwrap.dedent(text))
            assert render({**example("ha"), **changes})


def test_images_are_built_under_the_names_that_examples_pull() -> None:
    built = {words[words.index("-t") + 1] for words in starting("docker build")}
    pulled = set(re.findall(r"image: (registry\.example\S+)", "".join(render(example("ha")).values())))
    pulled |= set(re.findall(r"image: (registry\.example\S+)", "".join(render(example("demo")).values())))
    assert pulled == built


def secrets(name: str) -> dict[str, set[str]]:
    """The secrets that an example's pods need, and the keys that are looked for in them where they are named."""
    found: dict[str, set[str]] = {}
    for spec in all_pod_specs(name):
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
    for each in ("gpu", "ha"):
        for name, keys in secrets(each).items():
            needed.setdefault(name, set()).update(keys)
    assert needed.keys() == made.keys()
    assert all(needed[name] <= keys for name, keys in made.items())
    assert made["sam3-api-keys"] == {"keys.json"}
    assert secrets("demo").keys() == {"sam3-store"}
    assert "sam3-hub" not in secrets("air-gapped")


def test_names_are_those_that_the_operator_will_give() -> None:
    """The head's Service is the RayCluster's, and `-head-svc`; its token's secret is named as it is."""
    services = {each["metadata"]["name"] for each in of_kind("gpu", "Service")}
    named = set(re.findall(r"svc/([^\s\"]+)", " ".join(LINES)))
    assert named - {"$cluster-head-svc"} == {"sam3"} <= services
    (namespace,) = yaml.safe_load_all((ROOT / "k8s" / "namespace.yaml").read_text(encoding="utf-8"))
    used = set(re.findall(r"(?:-n|--namespace) (\S+)", " ".join(LINES)))
    assert used == {namespace["metadata"]["name"], "kuberay-system"}


def test_every_secret_can_be_applied_again() -> None:
    for words in starting("kubectl create secret"):
        assert "--dry-run=client" in words
        assert words[-4:] == ["kubectl", "apply", "--filename", "-"]


CHANGEABLE = {
    "StatefulSet": {"replicas", "template"},
    "PersistentVolumeClaim": {"resources"},
    "Job": set[str](),
}
"""Fields of `spec` that Kubernetes lets change once the object is there, and that these objects have."""


STEPS = [
    *(("demo", name) for name in sorted(EXAMPLES.keys() - {"demo"})),
    *((files[0], name) for name, files in EXAMPLES.items() if len(files) > 1),
    ("gpu", "ha"),
]
"""Examples, and the one that the guide puts in its place."""


@pytest.mark.parametrize(("old", "new"), STEPS)
def test_an_example_can_take_the_place_of_another(old: str, new: str) -> None:
    before = {(each["kind"], each["metadata"]["name"]): each["spec"] for each in build(old) if "spec" in each}
    found = set()
    for manifest in build(new):
        kind = manifest["kind"]
        if kind in CHANGEABLE and (was := before.get((kind, manifest["metadata"]["name"]))):
            found.add(kind)
            fixed = {key: value for key, value in manifest["spec"].items() if key not in CHANGEABLE[kind]}
            assert fixed == {key: value for key, value in was.items() if key not in CHANGEABLE[kind]}
            if kind == "PersistentVolumeClaim":
                room = [
                    quantity(spec["resources"]["requests"]["storage"]) for spec in (was, manifest["spec"])
                ]
                assert room[1] >= room[0], "a volume may grow and never shrinks"
                assert new == "eight-gpus" or room[0] == room[1], (
                    "and not every class of storage lets it grow"
                )
    assert found >= {"StatefulSet", "PersistentVolumeClaim"}


def test_a_volume_that_was_filled_elsewhere_gets_a_claim_that_pods_read() -> None:
    claims = {
        each["metadata"]["name"]: each["spec"] for each in of_kind("air-gapped", "PersistentVolumeClaim")
    }
    assert claims["sam3-filled-weights"]["volumeName"] == "sam3-weights"
    volumes = [each for spec in all_pod_specs("air-gapped") for each in spec["volumes"]]
    read_claims = {
        each["persistentVolumeClaim"]["claimName"] for each in volumes if each["name"] == "weights"
    }
    assert read_claims == {"sam3-filled-weights"}
