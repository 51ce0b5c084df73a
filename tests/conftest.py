"""What all tests share: each is marked with the folder it lives in, so that `-m integration` works."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
KINDS = ("unit", "contract", "workflows", "integration", "e2e", "chaos")


# Both would fail a test for its time, which is the machine's business.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder, and order the kinds from quick to slow, so that a simple mistake shows first."""
    for item in items:
        kind = item.path.relative_to(HERE).parts[0]
        if kind in KINDS:
            item.add_marker(kind)
    items.sort(key=lambda item: next((i for i, kind in enumerate(KINDS) if item.get_closest_marker(kind)), 0))
