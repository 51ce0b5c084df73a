import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from ray.exceptions import OwnerDiedError

from deployments.encoder.deployment import referenced
from deployments.messages import PixelsLost


async def kept() -> bytes:
    return b"there"


async def orphaned() -> bytes:
    raise OwnerDiedError("0" * 56, None, "its process is gone")


async def stuck() -> bytes:
    await asyncio.sleep(60)
    return b"never"


async def test_a_reference_is_followed() -> None:
    assert await referenced([kept()], 1) == b"there"


@pytest.mark.parametrize("reference", [orphaned, stuck])
async def test_pixels_that_died_with_their_process_are_lost(reference: Any) -> None:
    found: Awaitable[bytes] = reference()
    with pytest.raises(PixelsLost):
        await referenced([found], 0.01)
