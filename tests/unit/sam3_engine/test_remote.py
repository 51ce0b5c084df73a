"""Weights at URLs: a small server on the loopback plays the other side; nothing leaves the machine."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from sam3_engine.errors import CheckpointError, Offline
from sam3_engine.hub import resolve_checkpoint
from sam3_engine.remote import fetch
from tests.support.plain_server import plain_server

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """cut: where each of the first downloads breaks off; None: it does not."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=lambda: {"/weights/sam3.pt": CONTENT})
    etag: str = '"1"'
    gets: list[str | None] = field(default_factory=list)
    cut: list[int | None] = field(default_factory=list)
    refuses: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/weights/sam3.pt"


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.reply(body=False)

        def do_GET(self) -> None:
            self.reply(body=True)

        def reply(self, body: bool) -> None:
            content = state.files.get(self.path.partition("?")[0])
            if content is None or state.refuses:
                self.send_error(403 if state.refuses else 404)
                return
            whole, asked = len(content), self.headers.get("Range")
            start, end = 0, whole - 1
            if asked:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start, end = int(first), min(int(last or end), end)
            part = content[start : end + 1]
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{end}/{whole}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", state.etag)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if body:
                state.gets.append(asked)
                self.wfile.write(part[: state.cut.pop(0)] if state.cut else part)
            self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    with plain_server(Handler) as state.port:
        yield state


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    path = fetch(server.url, tmp_path)
    assert (path.name, path.read_bytes()) == ("sam3.pt", CONTENT)
    gets = len(server.gets)
    assert fetch(server.url, tmp_path) == path
    assert len(server.gets) == gets


def test_another_version_is_another_file(server: Server, tmp_path: Path) -> None:
    old = fetch(server.url, tmp_path)
    server.files["/weights/sam3.pt"], server.etag = b"new", '"2"'
    new = fetch(server.url, tmp_path)
    assert new.read_bytes() == b"new"
    assert old.read_bytes() == CONTENT, "a server that runs still maps it"


def test_an_interrupted_fetch_goes_on_where_it_stopped(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam3_engine.remote.CHUNK", 50_000)
    server.cut = [None, None, 10]
    with pytest.raises(Offline, match="goes on where it stopped"):
        fetch(server.url, tmp_path)
    assert next(tmp_path.rglob("*.unfinished")).stat().st_size == 100_000
    server.gets.clear()
    assert fetch(server.url, tmp_path).read_bytes() == CONTENT
    assert str(server.gets[0]).startswith("bytes=100000-")
    assert not list(tmp_path.rglob("*.unfinished"))


def test_a_digest_in_the_url_is_checked(server: Server, tmp_path: Path) -> None:
    assert fetch(f"{server.url}#sha256={DIGEST}", tmp_path).read_bytes() == CONTENT
    wrong = f"{server.url}#sha256={'0' * 64}"
    for cache in (tmp_path, tmp_path / "fresh"):
        with pytest.raises(CheckpointError, match=f"has the SHA-256 {DIGEST}, not 000"):
            fetch(wrong, cache)
    assert fetch(f"{server.url}#sha256={DIGEST}", tmp_path).read_bytes() == CONTENT


def test_secrets_in_a_url_are_not_shown(server: Server, tmp_path: Path) -> None:
    url = f"http://user:secret@127.0.0.1:{server.port}/absent.pt?X-Signature=secret"
    with pytest.raises(CheckpointError, match="no checkpoint at") as caught:
        fetch(url, tmp_path)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Offline, match="could not be fetched"):
        fetch("http://127.0.0.1:9/sam3.pt", tmp_path)


def test_a_server_that_refuses(server: Server, tmp_path: Path) -> None:
    server.refuses = True
    with pytest.raises(CheckpointError, match="may not be read: 403"):
        fetch(server.url, tmp_path)


def test_an_unknown_scheme(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="gopher"):
        fetch("gopher://old/sam3.pt", tmp_path)


def test_a_scheme_whose_package_is_missing_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.url_to_fs", without)
    with pytest.raises(CheckpointError, match=r"s3://bucket/sam3.pt needs a package .* pip install .*s3fs"):
        fetch("s3://bucket/sam3.pt", tmp_path)


def test_a_folder_at_a_url_brings_what_belongs_together(tmp_path: Path) -> None:
    """A folder of fsspec's memory stands for a bucket."""
    import fsspec

    files = fsspec.filesystem("memory")
    for name in ("model.safetensors", "config.json", "README.md", "other.safetensors"):
        files.pipe(f"/bucket/run7/{name}", name.encode())
    path = fetch("memory://bucket/run7", tmp_path)
    assert path.read_bytes() == b"model.safetensors"
    assert sorted(one.name for one in path.parent.iterdir() if one.suffix != ".lock") == [
        "config.json",
        "model.safetensors",
    ]
    files.rm("/bucket/run7/model.safetensors")
    files.rm("/bucket/run7/other.safetensors")
    with pytest.raises(CheckpointError, match="no checkpoint in memory://bucket/run7"):
        fetch("memory://bucket/run7", tmp_path)


def test_a_checkpoint_may_be_a_url(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = resolve_checkpoint(server.url)
    assert path.is_relative_to(tmp_path / "sam3-serve" / "weights")
    assert resolve_checkpoint(f"file://{path}") == path, "a file of this machine is not copied"
