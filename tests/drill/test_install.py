"""What is built of this tree, in environments of its own: the image's install steps, and the wheel for pip."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import requests
from PIL import Image

from harness.images import as_json, drawing
from harness.server import server_process
from tests.support.dockerfile import PREFIX, ROOT, stages


def test_its_install_steps_give_a_server(tmp_path: Path) -> None:
    """Every RUN and COPY of the stages that make the image for CPUs, in a clean environment of its own."""
    prefix, source, app = tmp_path / "env", tmp_path / "src", tmp_path / "app"
    source.mkdir()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    environment |= {
        "PATH": f"{prefix}/bin:{Path(sys.executable).parent}:{environment['PATH']}",
        "EXTRAS": "",
        "CPU_WHEELS": "",
    }
    steps = [step for stage in ("build", "cpu-dependencies", "code") for step in stages()[stage]]
    for instruction, rest in steps:
        if instruction == "COPY":
            *names, target = rest.split()
            command = (
                f"cp -rT {ROOT / names[0]} {target}" if len(names) == 1 else f"cp {' '.join(names)} {source}"
            )
            subprocess.run(command, shell=True, check=True, cwd=source if len(names) == 1 else ROOT)
        if instruction == "RUN":
            step = rest.replace(PREFIX, str(prefix)).replace("/opt/app", str(app))
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
            if " venv " in step:
                there = [path for path in sys.path if path.endswith("site-packages")]
                (prefix / "lib/python3.11/site-packages/there.pth").write_text("\n".join(there) + "\n")
    installed = app
    for part in (
        "sam3_engine/checkpoints/tiny.safetensors",
        "serve_app/capacity.json",
        "deployments/ray/router.py",
    ):
        assert (installed / part).exists(), part
    other = tmp_path / "not-from-serve.cfg"
    other.write_text("global\n")
    haproxy = [str(app / "bin" / "sam3-haproxy"), "-db", "-f", str(other)]
    refused = subprocess.run(haproxy, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "HAProxy is not started" in refused.stderr
    answer = subprocess.run(
        [app / "bin" / "sam3-serve", "config", "--json"],
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


def run(*words: str | Path, folder: Path) -> None:
    """A command that must succeed, away from this tree."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SAM3_"))
    }
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where `pip install` of the wheel puts its programs: a fresh environment of several GB, removed afterwards."""
    folder = tmp_path_factory.mktemp("wheel")
    try:
        run(sys.executable, "-m", "venv", "env", folder=folder)
        pip = folder / "env/bin/pip"
        run(pip, "wheel", ROOT, "--no-deps", "--wheel-dir", ".", folder=folder)
        (wheel,) = folder.glob("*.whl")
        run(pip, "install", wheel, "--constraint", ROOT / "constraints.txt", folder=folder)
        yield pip.parent
    finally:
        shutil.rmtree(folder)


def test_the_wheel_segments_in_its_own_process(programs: Path, tmp_path: Path) -> None:
    picture = ROOT / "docs/images/shapes.jpg"
    words = ("segment", picture, "--text", "circle", "--local", "-o", "overlay.png")
    run(programs / "sam3-serve", *words, folder=tmp_path)
    with Image.open(tmp_path / "overlay.png") as drawn, Image.open(picture) as original:
        assert drawn.size == original.size
        assert drawn.convert("RGB").tobytes() != original.convert("RGB").tobytes()


def test_the_wheel_serves(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    python = str(programs / "python")
    with server_process(tmp_path, root=tmp_path, python=python, model="tiny") as server:
        body = {"image": as_json(drawing(0)), "prompts": [{"type": "text", "text": "red circle"}]}
        answer = requests.post(f"{server.url}/sam3/concept_segment", json=body, timeout=None)
    assert len(answer.json()["prompt_results"][0]["predictions"]) == 1
