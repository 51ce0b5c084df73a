"""One line of JSON for each request.

    {"time": "2026-01-31T12:00:00.123Z", "request_id": "9f2c...", "tenant": "acme", "method": "POST",
     "route": "/sam3/visual_segment", "status": 200, "seconds": 0.0175, "model": "sam3/sam3_final", "cache": "hot",
     "prompts": 1, "images": [[640, 480]], "stages": {"queue": 0.0005, "prompt": 0.0041, "post": 0.0047},
     "bytes_in": 20764, "bytes_out": 3342}

`images` holds width and height of each image. With tracing on there is a `trace_id`. A failed request has `error`, the
class of its error. A line never holds image data, keys, query strings, or paths as clients write them. Clients also
write the prompts' texts and image ids: `texts` and `image_ids` are there only with `SAM3_ACCESS_LOG_DETAILS`. The
request id is always there, even one that the client chose: without it nobody could find a line.
"""

import logging
import os
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler, WatchedFileHandler
from pathlib import Path
from typing import Any

import orjson

from serve_app.http.around.observe import Observation

OFF, ON, STDOUT = "off", "on", "stdout"
KEPT_BYTES = 64 * 2**20
"""Largest size of a file in the server's log directory; one older file of this size is kept."""

logger = logging.getLogger(__name__)


class AccessLog:
    """Writes observations as lines. details: write the clients' texts and image ids as well."""

    def __init__(self, handler: logging.Handler, *, details: bool = False) -> None:
        self._details = details
        self._lines = logging.Logger("access")  # without parents: no other handler gets the lines
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._lines.addHandler(handler)

    def __call__(self, seen: Observation) -> None:
        """Write one line."""
        self._lines.info(orjson.dumps(record(seen, details=self._details)).decode())


def access_log(target: str, directory: Path | None, *, details: bool) -> AccessLog | None:
    """The log for the value of `SAM3_ACCESS_LOG`, or None.

    target: `off`; `on`, a file of this process in `directory` (None: standard output); `stdout`; or the path of a
    file, which several processes may share and a log rotation may rename.
    """
    if target == OFF:
        return None
    if target == STDOUT or (target == ON and directory is None):
        return AccessLog(logging.StreamHandler(sys.stdout), details=details)
    try:
        return AccessLog(_file(target, directory), details=details)
    except OSError as error:
        logger.error("no access log: %s", error)
        return None


def record(seen: Observation, *, details: bool) -> dict[str, Any]:
    """The fields of a request's line."""
    exchange = seen.exchange
    found: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "request_id": exchange.timings.request_id,
        "tenant": exchange.tenant,
        "method": seen.method,
        "route": seen.route,
        "status": seen.status,
        "seconds": round(seen.seconds, 6),
        "model": exchange.model or None,
        "cache": exchange.timings.cache,
        "prompts": exchange.prompts,
        "images": [[size.width, size.height] for size in exchange.sizes],
        "stages": {stage: round(seconds, 6) for stage, seconds in exchange.timings.stages.items()},
        "bytes_in": exchange.bytes_in,
        "bytes_out": seen.bytes_out,
    }
    if exchange.trace_id:
        found["trace_id"] = exchange.trace_id
    if exchange.error:
        found["error"] = exchange.error
    if details:
        found["image_ids"] = [_unicode(image_id) for image_id in exchange.image_ids]
        found["texts"] = [_unicode(text) for text in exchange.texts]
    return found


def _unicode(text: str) -> str:
    """The text without lone surrogates, which JSON in requests may hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _file(target: str, directory: Path | None) -> logging.Handler:
    if target == ON:
        assert directory is not None
        path = directory / f"access_{os.getpid()}.log"
        return RotatingFileHandler(path, maxBytes=KEPT_BYTES, backupCount=1, encoding="utf-8")
    return WatchedFileHandler(target, encoding="utf-8")
