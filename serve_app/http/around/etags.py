"""ETags: a client that has a file already does not get it again."""

import hashlib

ASK_AGAIN = "no-cache"
"""`Cache-Control` of an answer that a client may keep, and has to ask about each time."""


def etag_of(content: bytes) -> str:
    """A strong ETag, from the content's digest."""
    return f'"{hashlib.sha256(content).hexdigest()[:20]}"'


def is_known(etag: str, if_none_match: str) -> bool:
    """True if the header `If-None-Match` names the ETag, weak or strong."""
    return etag in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
