import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from serve_app.cli import local_ray
from serve_app.cli.ray_head import RayNotStarted
from serve_app.settings import Settings


class Imported(Exception):
    """Ray would be imported now."""


def test_no_thread_can_start_a_cluster_however_early_ray_is_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def first_import(**_: object) -> None:
        raise Imported(os.environ.get("RAY_ENABLE_AUTO_CONNECT"))

    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "1")
    monkeypatch.setattr(local_ray, "new_run_dir", lambda settings: tmp_path)
    monkeypatch.setattr(local_ray, "janitor", nullcontext)
    monkeypatch.setattr(local_ray, "apply", lambda fixed, tuned: None)
    monkeypatch.setattr(local_ray, "single_node", first_import)
    monkeypatch.setattr(local_ray, "_connect", first_import)
    with pytest.raises(Imported, match="0"), local_ray.local_ray(Settings()):
        pass
    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "1")
    with pytest.raises(Imported, match="0"), local_ray.cluster_ray("auto"):
        pass


def test_ray_says_nothing_of_its_log_level_but_real_errors_are_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def init(**_: object) -> None:
        level = b"logging.cc:303: Set ray log level from environment variable RAY_BACKEND_LOG_LEVEL to 3\n"
        os.write(2, b"[now I 1 1] " + level + b"[now C 1 1] the core is broken\n")
        raise RuntimeError("no node\nmore")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(RayNotStarted, match=r"^no node$"):
        local_ray._connect()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "[now C 1 1] the core is broken\nafterwards\n"
