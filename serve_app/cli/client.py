"""HTTP as the commands speak it: one request, and one error for all that may go wrong."""

import ipaddress
import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

SHOWN_CHARACTERS = 200


class Unanswered(Exception):
    """There is no answer, or not one of this service. The message says why, in one line."""


class Refused(Unanswered):
    """The service has answered with an error."""


def read(
    url: str, timeout_s: float, body: bytes | None = None, headers: dict[str, str] | None = None
) -> bytes:
    """The body of the answer to a GET, or with `body` to a POST. Raises Unanswered and Refused."""
    # A proxy of the environment does not reach this machine's own servers.
    opener = build_opener(*([ProxyHandler({})] if _here(url) else []))
    try:
        request = Request(url, body, headers or {})  # noqa: S310 - http(s) alone: see cli.options
        with opener.open(request, timeout=timeout_s) as response:
            content: bytes = response.read()
            return content
    except HTTPError as error:
        raise Refused(f"the server answered {error.code}: {_told(_rest(error), error.reason)}") from error
    except URLError as error:
        raise Unanswered(str(error.reason)) from error
    except HTTPException as error:  # its text may be that of the other side, of any length
        raise Unanswered(f"it does not speak HTTP ({type(error).__name__})") from error
    except (OSError, ValueError) as error:
        raise Unanswered(one_line(str(error))) from error


def read_json(
    url: str, timeout_s: float, body: bytes | None = None, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """The JSON object that answers. Raises Unanswered and Refused."""
    content = read(url, timeout_s, body, headers)
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        start = one_line(content.decode(errors="replace"))[:60]
        raise Unanswered(f"its answer is not JSON of sam3-serve but {start!r}")
    return document


def one_line(text: str) -> str:
    """A text of another program, short, without line breaks and control characters."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}..."


def _rest(error: HTTPError) -> bytes:
    try:
        return error.read()
    except (OSError, HTTPException):
        return b""


def _told(body: bytes, reason: str) -> str:
    """The message of an error of ours; the start of the answer of another service."""
    try:
        document = json.loads(body)
        detail = document.get("detail")
        problems = "; ".join(_problem(item) for item in detail) if isinstance(detail, list) else detail
        return one_line(str(document.get("message") or problems or reason))
    except (ValueError, AttributeError, TypeError, KeyError):
        return one_line(body.decode(errors="replace")) or reason


def _problem(item: dict[str, Any]) -> str:
    """One problem of a 422 in words: "prompts 3, text: String should have at most 1000 characters"."""
    place = ""
    for part in item["loc"]:
        if part != "body":
            place += f" {part}" if isinstance(part, int) else f", {part}" if place else str(part)
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
