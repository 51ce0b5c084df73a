"""A real Label Studio, from PyPI in an environment of its own, on SQLite, and its API."""

import io
import os
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.support.environments import environment_with
from tests.support.patience import PATIENCE_S

VERSION = "1.23.2"
PERSON = ("a@example.com", "password-1")
TOKEN = "0123456789abcdef0123456789abcdef01234567"
START_S = 1200.0
"""Its first start makes its tables one change at a time: half a minute alone, ten on a busy machine."""


class LabelStudio:
    """Its API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of a request that must succeed."""
        answer = self._send(method, path, **options)
        return answer.json() if answer.content else None

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Token {TOKEN}"}
        answer = requests.request(
            method, self.url + path, headers=headers, timeout=PATIENCE_S * 10, **options
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer

    def project(self, label_config: str, pictures: dict[str, bytes]) -> tuple[int, dict[str, int]]:
        """A project with uploaded images: its id, and the id of each image's task by its file's name."""
        body = {"title": "shapes", "label_config": label_config}
        project: int = self.ask("POST", "/api/projects", json=body)["id"]
        return project, self.upload(project, pictures)

    def upload(self, project: int, pictures: dict[str, bytes]) -> dict[str, int]:
        """Upload images to a project: the id of each one's task by its file's name."""
        for name, content in pictures.items():
            self.ask("POST", f"/api/projects/{project}/import", files={name: (name, content, "image/png")})
        tasks = self.ask("GET", f"/api/tasks?project={project}&fields=all&page_size=100")["tasks"]
        found = {
            name: task["id"] for name in pictures for task in tasks if task["data"]["image"].endswith(name)
        }
        assert len(found) == len(pictures), tasks
        return found

    def connect(self, project: int, url: str, **options: Any) -> int:
        """Add an ML backend to a project: its id."""
        body = {"url": url, "project": project, "title": "SAM 3", "is_interactive": True, **options}
        backend: int = self.ask("POST", "/api/ml", json=body)["id"]
        return backend

    def suggest(self, project: int) -> None:
        """Get predictions of all tasks, as the data manager's action does."""
        body = {"selectedItems": {"all": True, "excluded": []}, "project": str(project)}
        self.ask("POST", f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}", json=body)

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """The predictions that it keeps of a task."""
        found: list[dict[str, Any]] = self.ask("GET", f"/api/predictions?task={task}")
        return found

    def accept(self, task: int) -> None:
        """Submit the task's prediction as an annotation, unchanged."""
        (prediction,) = self.predictions(task)
        self.ask("POST", f"/api/tasks/{task}/annotations/", json={"result": prediction["result"]})

    def export(self, project: int, kind: str) -> dict[str, bytes]:
        """The files that its converter makes of a project's annotations, by name."""
        answer = self._send("GET", f"/api/projects/{project}/export?exportType={kind}")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as files:
            return {name: files.read(name) for name in files.namelist() if not name.endswith("/")}

    def draw(self, backend: int, task: int, *drawn: dict[str, Any]) -> Any:
        """Send a request as a smart tool does; returns the answer's data. Asserts that there is no error."""
        body = {"task": task, "context": {"result": list(drawn)}}
        answer = self.ask("POST", f"/api/ml/{backend}/interactive-annotating", json=body)
        assert "errors" not in answer, answer
        return answer["data"]


@contextmanager
def label_studio(folder: Path, port: int) -> Iterator[LabelStudio]:
    """Start Label Studio, which may call servers of this machine, and stop it."""
    programs = environment_with(folder, f"label-studio=={VERSION}")
    url = f"http://127.0.0.1:{port}"
    outside = ("PYTHON", "VIRTUAL_ENV", "DJANGO", "SAM3_", "LABEL_STUDIO")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(outside)},
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data"),
        "LABEL_STUDIO_HOST": url,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
    }
    options = ["--no-browser", "--port", str(port), "--username", PERSON[0], "--password", PERSON[1]]
    with (folder / "label-studio.txt").open("w") as output:
        process = psutil.Popen(
            [programs / "label-studio", "start", *options, "--user-token", TOKEN],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(process, url, folder / "label-studio.txt")
            yield LabelStudio(url)
        finally:
            for each in [*process.children(recursive=True), process]:
                each.terminate()
            process.wait(PATIENCE_S)


def _wait(process: psutil.Popen, url: str, output: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, output.read_text()[-4000:]
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.5)
    raise AssertionError(output.read_text()[-4000:])
