"""The paths of requests: doubled slashes at the start, and characters that no name may hold."""

import re
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from sam3_engine.image_ids import CONTROL_CHARACTERS
from serve_app.http.errors import InvalidRequest

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


def _error(message: str) -> dict[str, object]:
    return {"loc": ["path"], "msg": message, "type": "value_error"}
