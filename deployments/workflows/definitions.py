"""Saved workflows: JSON files, found by tenant, workspace and id.

    <workflows_dir>/<tenant>/<workspace>/<id>.json
    <workflows_dir>/<tenant>/<workspace>/<id>@<version>.json    for a request with workflow_version_id

A file holds the definition itself, or {"specification": definition} as Roboflow exports it. A tenant can read only
its own folder. Without configured keys, every client is the tenant `default`.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import orjson
from cachetools import TTLCache

MOST_BYTES = 1024 * 1024
MOST_KEPT = 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_TENANT = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,64}")


class UnknownWorkflow(Exception):
    """The tenant has no workflow of this id, or its file cannot be read."""


class Definitions:
    """Reads definitions. With `use_cache`, a file is read again only after `cache_s` seconds. Safe for any thread."""

    def __init__(
        self, folder: Path | None, cache_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._kept: TTLCache[Path, dict[str, Any]] = TTLCache(MOST_KEPT, cache_s, clock)
        self._lock = Lock()

    def find(
        self, tenant: str, workspace: str, name: str, version: str | None = None, *, use_cache: bool = True
    ) -> dict[str, Any]:
        """The definition. Raises UnknownWorkflow."""
        unknown = UnknownWorkflow("there is no such workflow in this workspace")
        if self._folder is None:
            raise UnknownWorkflow("no saved workflows are configured on this server: send the specification")
        parts = (workspace, name) if version is None else (workspace, name, version)
        if not (_TENANT.fullmatch(tenant) and all(_NAME.fullmatch(part) for part in parts)):
            raise unknown
        stem = name if version is None else f"{name}@{version}"
        path = self._folder / tenant / workspace / f"{stem}.json"
        with self._lock:
            kept = self._kept.get(path)
        if use_cache and kept is not None:
            return kept
        try:
            definition = _read(self._folder / tenant, path)
        except (OSError, ValueError):
            with self._lock:
                self._kept.pop(path, None)
            raise unknown from None
        with self._lock:
            self._kept[path] = definition
        return definition


def _read(home: Path, path: Path) -> dict[str, Any]:
    """Raises OSError, and ValueError for a file that is no definition or lies outside the tenant's folder."""
    real = path.resolve(strict=True)
    if not real.is_relative_to(home.resolve(strict=True)):
        raise ValueError("a link leads out of the tenant's folder")
    with real.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError("too long")
    document = orjson.loads(content)
    definition = document.get("specification", document) if isinstance(document, dict) else None
    if not isinstance(definition, dict):
        raise ValueError("not a definition")
    return definition
