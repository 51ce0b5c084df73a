"""Marks of all tests, by the folder they live in, and the two servers that the tests of a run share."""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

from harness.server import ServerProcess, server_process

HERE = Path(__file__).parent
KINDS = ("unit", "contract", "workflows", "integration", "e2e", "drill")
SHARED = ("tiny_server", "untrained_server", "observed_server")
DRILL_S = 3600


# Both would fail a test for its time, which is the machine's business.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder, so that `-m integration` works, and order the kinds from quick to slow, so that a simple mistake
    shows first. Tests of shared servers come last, one server after the other, their files by name: the last file of
    some stops its server."""
    for item in items:
        kind = item.path.relative_to(HERE).parts[0]
        if kind not in KINDS:
            continue
        item.add_marker(kind)
        if kind == "drill":
            item.add_marker(pytest.mark.timeout(DRILL_S))
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, int, str]:
    server = shared_server(item.path)
    kind = next((place for place, kind in enumerate(KINDS) if item.get_closest_marker(kind)), 0)
    return (len(KINDS), SHARED.index(server), str(item.path)) if server else (kind, 0, "")


@cache
def shared_server(file: Path) -> str:
    """The shared server that tests of a file use, or nothing."""
    text = file.read_text(encoding="utf-8")
    return next((name for name in SHARED if name in text), "")


class ByServer(LoadScopeScheduling):  # type: ignore[misc]  # untyped
    """Gives each worker whole files, and one of them all the files of a shared server, or of the engine of workflows,
    whose import takes as long as a server's start."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return shared_server(HERE.parent / file) or ("workflows" if "/workflows/" in file else file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """The scheduler for `--dist loadfile`; optional, so that `-p no:xdist` works."""
    return ByServer(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def untrained_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`make serve` with untrained weights, for tests of the machinery. The tests of test_up.py are its last: they
    stop it."""
    make_serve = ["make", "serve", f"VENV={sys.prefix}"]
    with server_process(tmp_path_factory.mktemp("untrained"), instead=make_serve) as running:
        yield running


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`sam3-serve up` with the bundled model, and Workflows."""
    folder = tmp_path_factory.mktemp("tiny")
    with server_process(folder, model="tiny", workflows="true", workflow_workers="2") as running:
        yield running
