"""A store, a pool and decoders for the tests of their callers."""

import pytest

from tests.support.memory_store import MemoryStore
from tests.unit.deployments.fakes import FakeDecoders, FakePool


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def pool(store: MemoryStore) -> FakePool:
    return FakePool(store)


@pytest.fixture
def decoders(pool: FakePool) -> FakeDecoders:
    return FakeDecoders(pool)
