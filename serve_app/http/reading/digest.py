"""Computes an image's digest, off the event loop where it takes long."""

import asyncio

from deployments.keys import content_digest

INLINE_BYTES = 64 * 1024
"""Up to this size, hashing takes less time than waking a thread."""


async def content_digest_off_loop(content: bytes) -> str:
    """Digest of an image file's bytes: equal files have equal ids, whichever way they came."""
    if len(content) <= INLINE_BYTES:
        return content_digest(content)
    return await asyncio.to_thread(content_digest, content)  # hashlib releases the interpreter's lock
