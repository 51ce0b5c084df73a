"""Images as text: base64, and `data:` URLs that hold it. The SDK and HTTP share it."""

import binascii
import re

import pybase64

from sam3_engine.errors import UnreadableImage

_DATA_URL = re.compile(r"\s*data:", re.IGNORECASE)
_PREFIX = re.compile(r"\s*data:[^,]{0,200};base64,", re.IGNORECASE)
_PREFIX_CHARACTERS = 256
_WEB_URL = re.compile(r"\s*https?://", re.IGNORECASE)
_WHITESPACE = re.compile(r"\s+")
_ESCAPES = {f"%{ord(each):02X}": each for each in "+/=\n\r "}
"""Characters of base64 that encoders escape in a URL. Only these are unescaped: to unescape anything would take many
times the text's memory."""


def is_data_url(text: str) -> bool:
    """True for text that begins with `data:`, in any case and after any whitespace."""
    return _DATA_URL.match(text[:_PREFIX_CHARACTERS]) is not None


def decode_base64(text: str) -> bytes:
    """The bytes of base64 text. A `data:` prefix, line breaks and, in a `data:` URL, percent-encoding are allowed.

    Raises UnreadableImage.
    """
    prefix = _PREFIX.match(text[:_PREFIX_CHARACTERS])
    if not prefix and is_data_url(text):
        raise UnreadableImage("a data: URL of an image must be in base64: data:image/png;base64,...")
    payload = _unescaped(text[prefix.end() :]) if prefix else text
    try:
        content = _strictly(payload)
    except (binascii.Error, ValueError):
        hint = ": it looks like a URL, whose type is 'url'" if _WEB_URL.match(payload) else ""
        raise UnreadableImage(f"the image is not valid base64{hint}") from None
    if not content:
        raise UnreadableImage("the image is empty")
    return content


def _unescaped(payload: str) -> str:
    if "%" in payload:
        for escape, character in _ESCAPES.items():
            payload = payload.replace(escape, character).replace(escape.lower(), character)
    return payload


def _strictly(payload: str) -> bytes:
    try:
        content: bytes = pybase64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        # The `base64` command breaks lines, and some encoders leave the padding out.
        bare = _WHITESPACE.sub("", payload).rstrip("=")
        content = pybase64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    return content
