"""The paths and headers of requests: doubled slashes at the start, and characters that none may hold."""

import re
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from sam3_engine.image_ids import CONTROL_CHARACTERS
from serve_app.http.errors import InvalidRequest, MalformedHeaders

_CONTROL = re.compile(f"[{CONTROL_CHARACTERS}]")


def without_doubled_start(scope: Scope) -> None:
    """Make `//sam3/...`, which a client with a slash after its base URL asks for, `/sam3/...`, in place."""
    root = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    below = path.removeprefix(root)
    if below.startswith("//"):
        scope["path"] = f"{root}/{below.lstrip('/')}"


def check_path(scope: Scope) -> None:
    """Raises InvalidRequest for a path with control characters, or whose bytes are not UTF-8.

    Routers would read such a path as another one: patterns end before a last line break, and bytes that are not UTF-8
    all decode to one character.
    """
    raw = scope.get("raw_path") or b""
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise InvalidRequest([_error("the path is not UTF-8")]) from None
    if _CONTROL.search(scope["path"]):
        raise InvalidRequest([_error("the path holds a control character")])


def check_headers(scope: Scope) -> None:
    """Raises MalformedHeaders for bytes that are no UTF-8. A request id is not read so: an unfit one is replaced."""
    for name, value in scope["headers"]:
        if (name.isascii() and value.isascii()) or name == b"x-request-id":
            continue
        try:
            (name + value).decode()
        except UnicodeDecodeError:
            raise MalformedHeaders from None


def _error(message: str) -> dict[str, object]:
    return {"loc": ["path"], "msg": message, "type": "value_error"}
