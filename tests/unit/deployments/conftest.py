"""A pool and decoders for those who ask them."""

import pytest

from tests.unit.deployments.fakes import FakeDecoders, FakePool


@pytest.fixture
def pool() -> FakePool:
    return FakePool()


@pytest.fixture
def decoders(pool: FakePool) -> FakeDecoders:
    return FakeDecoders(pool)
