"""Bytes between replicas: in the message while they are few, else in the object store.

A message of Serve's gRPC transport holds 4 MB (ray 2.60). A reference travels nested, so that Ray hands it on instead
of its value.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError

INLINE_BYTES = 512 * 1024

Payload = bytes | list[Any]
"""The bytes, or one ObjectRef to them, nested."""


def stow(parts: Sequence[bytes]) -> list[Payload]:
    """Each part as it may travel: all inline while they are few together. The caller owns what is put."""
    if sum(len(part) for part in parts) <= INLINE_BYTES:
        return list(parts)
    return [[ray.put(part)] for part in parts]


async def fetch(payload: Payload, timeout_s: float) -> bytes:
    """The bytes. Raises LostPayload when they cannot be had in time: their owner may be gone."""
    if isinstance(payload, bytes):
        return payload
    content: bytes = await held(payload, timeout_s)
    return content


async def held(reference: list[Any], timeout_s: float) -> Any:
    """What one nested ObjectRef stands for. Raises LostPayload as `fetch` does."""
    try:
        async with asyncio.timeout(timeout_s):
            return await reference[0]
    except (TimeoutError, RayError) as error:
        raise LostPayload from error


class LostPayload(Exception):
    """The bytes were put by a process that has died."""
