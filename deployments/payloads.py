"""Pixels on their way between processes: what is large travels as a reference, nested, so that Ray hands it on instead
of its value."""

import asyncio
from typing import Any

from ray.exceptions import RayError


async def held(reference: list[Any], timeout_s: float) -> Any:
    """What one nested ObjectRef stands for. Raises LostPayload when it cannot be had in time: its owner may be gone."""
    try:
        async with asyncio.timeout(timeout_s):
            return await reference[0]
    except (TimeoutError, RayError) as error:
        raise LostPayload from error


class LostPayload(Exception):
    """It was put by a process that has died."""
