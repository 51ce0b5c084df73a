"""Results as they travel from a decoder to the ingress: pickled once, off the event loop.

Masks are packed bits, or, where the request asks for it, the JSON text that an answer is to hold: written once, in the
decoder, from arrays, and put into the answer as it is. A polygon of a photo has thousands of points; as lists they
would be made, pickled, made again and written one by one.
"""

import pickle
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from sam3_engine.types import Instance


@dataclass(frozen=True, slots=True)
class JsonText:
    """What `Instance.masks` describes, written as JSON."""

    text: bytes


@dataclass(frozen=True, slots=True)
class PackedMask:
    """A bool array [H, W]."""

    shape: tuple[int, int]
    bits: bytes
    """Rows run together, eight pixels a byte, deflated: a photo's mask is kilobytes."""


def dump_results(results: Any, *, as_json: bool = False) -> bytes:
    """A request's results as bytes: instances and plain values, in lists however deep.

    as_json: with masks as JsonText; their contours may be integer arrays [N, 2].
    """
    return pickle.dumps(_each(results, _write if as_json else _pack), protocol=pickle.HIGHEST_PROTOCOL)


def load_results(data: bytes) -> Any:
    """The inverse of `dump_results`. For bytes of this application's own processes only."""
    return _each(pickle.loads(data), _unpack)  # noqa: S301 - written by `dump_results` in a decoder of this cluster


def _each(results: Any, change: Any) -> Any:
    if isinstance(results, list | tuple):
        return [_each(item, change) for item in results]
    return change(results) if isinstance(results, Instance) else results


def _write(instance: Instance) -> Instance:
    text = JsonText(orjson.dumps(instance.masks, option=orjson.OPT_SERIALIZE_NUMPY))
    return replace(instance, masks=text)


def _pack(instance: Instance) -> Instance:
    if not isinstance(instance.masks, np.ndarray):
        return instance
    height, width = instance.masks.shape
    packed = PackedMask((height, width), zlib.compress(np.packbits(instance.masks).tobytes(), level=1))
    return replace(instance, masks=packed)


def _unpack(instance: Instance) -> Instance:
    if not isinstance(instance.masks, PackedMask):
        return instance
    height, width = instance.masks.shape
    bits = np.frombuffer(zlib.decompress(instance.masks.bits), dtype=np.uint8)
    mask = np.unpackbits(bits, count=height * width).astype(np.bool_).reshape(height, width)
    return replace(instance, masks=mask)
