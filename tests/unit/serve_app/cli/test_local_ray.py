import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from serve_app.cli import local_ray
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
