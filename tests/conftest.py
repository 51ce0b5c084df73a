"""What all tests share: their marks, by the folder they live in, and the two servers of a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from harness.server import ServerProcess, server_process

HERE = Path(__file__).parent
ALONE = ("unit", "contract")
"""Kinds whose tests leave each other alone; tests of the others share servers, or a module's."""
KINDS = (*ALONE, "workflows", "integration", "e2e", "drill")
SHARED = ("tiny_server", "untrained_server", "observed_server")
DRILL_S = 3600


# Both would fail a test for its time, which is the machine's business.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder, so that `-m integration` works, and order the kinds from quick to slow, so that a simple mistake
    shows first. Of several pytest-xdist workers, one runs all tests of a server."""
    for item in items:
        kind = item.path.relative_to(HERE).parts[0]
        if kind not in KINDS:
            continue
        item.add_marker(kind)
        if kind == "drill":
            item.add_marker(pytest.mark.timeout(DRILL_S))
        if kind not in ALONE:
            item.add_marker(pytest.mark.xdist_group(_server_of(item) or item.path.stem))
    items.sort(key=_place)


def _server_of(item: pytest.Item) -> str:
    """The shared server that a test uses, or nothing."""
    used = getattr(item, "fixturenames", ())
    return next((name for name in SHARED if name in used), "")


def _place(item: pytest.Item) -> tuple[int, int]:
    """By kind. Tests of shared servers come last, one server after the other: each runs until the end."""
    kind = next((place for place, kind in enumerate(KINDS) if item.get_closest_marker(kind)), 0)
    server = _server_of(item)
    return (len(KINDS), SHARED.index(server)) if server else (kind, 0)


@pytest.fixture(scope="session")
def untrained_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`sam3-serve up` with untrained weights, for tests of the machinery."""
    with server_process(tmp_path_factory.mktemp("untrained")) as running:
        yield running


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`sam3-serve up` with the bundled model, and Workflows."""
    folder = tmp_path_factory.mktemp("tiny")
    with server_process(folder, model="tiny", workflows="true", workflow_workers="2") as running:
        yield running
