"""The encoding of results between a decoder and the ingress: pickled once, off the event loop.

Masks are packed bits or, where the request asks for `as_json`, JSON text. The decoder writes this text once, from
arrays, and the ingress puts it into the answer unchanged. A polygon of a photo has thousands of points: as lists, each
point would be built, pickled, built again and written as an object of its own.
"""

import pickle
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from sam3_engine.types import ConceptResult, Instance


@dataclass(frozen=True, slots=True)
class JsonText:
    """The value of `Instance.masks`, written as JSON."""

    text: bytes


@dataclass(frozen=True, slots=True)
class PackedMask:
    """A bool array [H, W]."""

    shape: tuple[int, int]
    bits: bytes
    """Rows one after the other, eight pixels per byte, deflated: a photo's mask takes kilobytes."""


def dump_results(results: Any, *, as_json: bool = False) -> bytes:
    """A request's results as bytes: instances, concept results and plain values, in lists of any depth.

    as_json: write masks as JsonText; their contours may be integer arrays [N, 2].
    """
    return pickle.dumps(_each(results, _write if as_json else _pack), protocol=pickle.HIGHEST_PROTOCOL)


def load_results(data: bytes) -> Any:
    """The inverse of `dump_results`. Only for bytes from this application's own processes: it unpickles."""
    return _each(pickle.loads(data), _unpack)  # noqa: S301 - written by `dump_results` in a decoder of this cluster


def _each(results: Any, change: Any) -> Any:
    if isinstance(results, list | tuple):
        return [_each(item, change) for item in results]
    if isinstance(results, ConceptResult):
        return replace(results, instances=_each(results.instances, change))
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
