"""The playground's files, read once, and their cache headers.

Files are served under a folder named by a digest of them all, so browsers may cache them for ever; a new version of the
server has another folder. Browsers ask for the page itself each time, and get a 304 when they have it.
"""

import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from deployments.video.protocol import EVERY
from serve_app.http.around.etags import ASK_AGAIN, etag_of

FOLDER = Path(__file__).parents[2] / "playground"
PREFIX = "/playground"
FOR_EVER = "public, max-age=31536000, immutable"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        # https: allows images by URL, which the page loads from their own servers.
        "img-src 'self' blob: https:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers of the page."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file with its content type and ETag."""

    content: bytes
    media_type: str
    etag: str


class Playground:
    """The page and its files."""

    def __init__(self, folder: Path = FOLDER) -> None:
        paths = [path for path in sorted(folder.rglob("*")) if path.suffix in TYPES]
        self.files = {path.relative_to(folder).as_posix(): static_file(path) for path in paths}
        self._template = (folder / "index.html").read_text(encoding="utf-8")
        digests = "".join(f"{name} {file.etag}\n" for name, file in self.files.items())
        self.version = hashlib.sha256(digests.encode()).hexdigest()[:12]
        self.page = lru_cache(maxsize=8)(self._page)

    def find(self, path: str) -> tuple[StaticFile, str] | None:
        """The file at a path below PREFIX, with or without the version, and its Cache-Control."""
        versioned = path.startswith(f"{self.version}/")
        file = self.files.get(path.removeprefix(f"{self.version}/"))
        return None if file is None else (file, FOR_EVER if versioned else ASK_AGAIN)

    def _page(
        self,
        root: str,
        model: str,
        note: str,
        version: str,
        asks_for_key: bool,
        several: bool = False,
        tracks_videos: bool = False,
    ) -> StaticFile:
        """The page of a server behind the path prefix `root`. several: it has more models than this one."""
        assets = f"{root}{PREFIX}/{self.version}"
        modules = [
            name for name in self.files if name.endswith(".js") and name not in ("main.js", "theme.js")
        ]
        preloads = [f'<link rel="modulepreload" href="{html.escape(assets)}/{name}">' for name in modules]
        texts = {
            "root": root,
            "assets": assets,
            "model": model,
            "models": "several" if several else "one",
            "version": version,
            "keys": "asked" if asks_for_key else "open",
            "video": "on" if tracks_videos else "off",
            # The memory of a model that knows drawn shapes alone is weak: docs/video.md.
            "every": "1" if note else str(EVERY),
            "placeholder": "red circle, star" if note else "person, red car",
        }
        markup = {"preloads": "\n".join(preloads), "note": note_markup(note)}
        content = fill(
            self._template, {**{name: html.escape(text) for name, text in texts.items()}, **markup}
        )
        return StaticFile(content.encode(), "text/html; charset=utf-8", etag_of(content.encode()))


def note_markup(note: str) -> str:
    """HTML of the note on the server's model: a summary, which opens to the whole text."""
    if not note:
        return ""
    return (
        '<details class="note"><summary>This model only knows coloured shapes</summary>'
        f"<p>{html.escape(note)}</p></details>"
    )


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with each `{{name}}` replaced, in one pass."""
    parts = template.split("{{")
    filled = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}}")
        filled.append(values[name] + rest)
    return "".join(filled)


def static_file(path: Path) -> StaticFile:
    """Read a file of the folder."""
    content = path.read_bytes()
    return StaticFile(content, TYPES[path.suffix], etag_of(content))
