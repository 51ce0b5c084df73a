"""The name of an image by its content, made off the event loop where it takes long."""

import asyncio

from deployments.keys import content_digest

INLINE_BYTES = 64 * 1024
"""Up to here a call costs less than handing it to a thread."""


async def content_digest_off_loop(content: bytes) -> str:
    """Digest of an image file's bytes: equal files have equal ids, whichever way they came."""
    if len(content) <= INLINE_BYTES:
        return content_digest(content)
    return await asyncio.to_thread(content_digest, content)  # hashlib lets go of the interpreter lock
