"""Messages between the runner and its workers: the length, then JSON with binary parts. They are not pickled: a
worker runs definitions of strangers, so nothing that it sends may be executed in the runner."""

import struct
from collections.abc import Sequence
from typing import Any

import orjson

LENGTH = struct.Struct("<Q")
MOST_BYTES = 2**30
"""Larger messages are not read."""

Header = dict[str, Any]


class BrokenFrame(ValueError):
    """Bytes that are not a message."""


class Unpackable(ValueError):
    """A header that no message can hold."""


def pack(header: Header, parts: Sequence[bytes | memoryview] = ()) -> bytes:
    """A message with its length in front. Raises Unpackable."""
    try:
        text = orjson.dumps([header, [len(part) for part in parts]], option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise Unpackable(
            "a value cannot be passed on: integers must fit in 64 bits, texts must be Unicode, and nesting is limited"
        ) from error
    size = LENGTH.size + len(text) + sum(len(part) for part in parts)
    return b"".join([LENGTH.pack(size), LENGTH.pack(len(text)), text, *parts])


def unpack(data: bytes) -> tuple[Header, list[bytes]]:
    """The message in the bytes that follow a length. Raises BrokenFrame."""
    try:
        (length,) = LENGTH.unpack_from(data)
        header, sizes = orjson.loads(data[LENGTH.size : LENGTH.size + length])
        parts, at = [], LENGTH.size + length
        for size in sizes:
            parts.append(data[at : at + size])
            at += size
        if not isinstance(header, dict) or at != len(data) or any(size < 0 for size in sizes):
            raise ValueError
    except (ValueError, TypeError, struct.error) as error:
        raise BrokenFrame("a message is not one") from error
    return header, parts


def body_length(prefix: bytes) -> int:
    """The length of a message, from its first bytes. Raises BrokenFrame."""
    (length,) = LENGTH.unpack(prefix)
    if length > MOST_BYTES:
        raise BrokenFrame("a message is too long")
    return int(length)
