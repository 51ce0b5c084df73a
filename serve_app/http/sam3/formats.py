"""The mask formats that requests name, what the engine calls them, and what answers call them."""

from sam3_engine.types import MaskFormat
from serve_app.http.errors import UnsupportedFormat

CONCEPT_FORMATS: dict[str, MaskFormat] = {
    "polygon": "polygon",
    "rle": "rle",
    "polygon_holes": "polygon_holes",
    "json": "polygon",  # the documents of the Python SDK call it so
}
VISUAL_FORMATS: dict[str, MaskFormat] = {
    "json": "polygon",
    "rle": "rle",
    "binary": "binary",
    "polygon_holes": "polygon_holes",
    "polygon": "polygon",
}


def concept_format(name: str | None) -> MaskFormat:
    """The engine's format for a concept request's `format`. Raises UnsupportedFormat."""
    return _lookup(CONCEPT_FORMATS, "polygon" if name is None else name)


def visual_format(name: str | None) -> MaskFormat:
    """The engine's format for a visual request's `format`. Raises UnsupportedFormat."""
    return _lookup(VISUAL_FORMATS, "json" if name is None else name)


def _lookup(formats: dict[str, MaskFormat], name: str) -> MaskFormat:
    try:
        return formats[name]
    except KeyError:
        raise UnsupportedFormat(name, list(formats)) from None
