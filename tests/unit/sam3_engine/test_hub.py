"""The Hub is played by a small server on the loopback; nothing leaves the machine."""

import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sam3_engine.errors import CheckpointError, GatedAccess, Offline
from sam3_engine.hub import FILE_NAME, REPOSITORY, download, resolve_checkpoint

CONTENT = b"the weights" * 1000
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Answers as the real one does.

    mode: open, gated (wants the token "granted"), forbidden, missing, broken, or foreign (no Hub at all).
    """

    mode: str = "open"
    port: int = 0
    downloads: int = 0
    tokens: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, token: str | None) -> tuple[int, dict[str, str]]:
        match self.mode:
            case "gated" if token != "Bearer granted":
                return 403 if token else 401, {
                    "X-Error-Code": "GatedRepo",
                    "X-Error-Message": "Access is restricted",
                }
            case "forbidden":
                return 403, {}
            case "missing":
                return 404, {"X-Error-Code": "EntryNotFound"}
            case "broken":
                return 503, {}
            case "foreign":
                return 200, {}
        return 200, {"ETag": f'"{hashlib.sha256(CONTENT).hexdigest()}"', "X-Repo-Commit": COMMIT}


@pytest.fixture
def hub() -> Iterator[Hub]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.reply(body=False)

        def do_GET(self) -> None:
            self.reply(body=True)

        def reply(self, body: bool) -> None:
            state.tokens.append(self.headers.get("Authorization"))
            if self.path != f"/{REPOSITORY}/resolve/main/{FILE_NAME}" and COMMIT not in self.path:
                self.send_error(404)
                return
            status, headers = state.answer(self.headers.get("Authorization"))
            content = CONTENT if status == 200 else b""
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                state.downloads += 1
                self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is logged in, the client asks its real home for nothing, and no retry waits."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: None)


def fetch(hub: Hub, cache: Path, token: str | None = None) -> Path:
    return resolve_checkpoint(None, token=token, endpoint=hub.url, cache_dir=cache)


def test_downloads_once(hub: Hub, tmp_path: Path) -> None:
    path = fetch(hub, tmp_path)
    assert path.name == FILE_NAME
    assert path.read_bytes() == CONTENT
    assert fetch(hub, tmp_path) == path
    assert hub.downloads == 1


def test_a_gated_repository_opens_with_a_granted_token(hub: Hub, tmp_path: Path) -> None:
    hub.mode = "gated"
    assert fetch(hub, tmp_path, "granted").read_bytes() == CONTENT
    assert set(hub.tokens) == {"Bearer granted"}


def test_the_token_is_taken_from_the_environment(hub: Hub, tmp_path: Path) -> None:
    """In a process of its own: the Hub's client reads its settings when it is imported."""
    hub.mode = "gated"
    script = "import sam3_engine.hub as hub; print(hub.resolve_checkpoint().read_bytes()[:11].decode())"
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "granted", "HF_HOME": str(tmp_path), "PYTHONPATH": "."}
    environment |= {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TQDM_POSITION": "-1",
    }  # -1: a bar without a terminal, too
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "the weights"
    assert f"{FILE_NAME}: 100%" in result.stderr, "a progress bar is shown"


def test_gated_without_a_token_says_what_to_do(hub: Hub, tmp_path: Path) -> None:
    hub.mode = "gated"
    with pytest.raises(GatedAccess, match="no token was sent") as caught:
        fetch(hub, tmp_path)
    for hint in (f"{hub.url}/{REPOSITORY}", f"{hub.url}/settings/tokens", "HF_TOKEN", "hf auth login"):
        assert hint in str(caught.value)


@pytest.mark.parametrize("mode", ["gated", "forbidden"])
def test_a_token_without_access(hub: Hub, tmp_path: Path, mode: str) -> None:
    hub.mode = mode
    with pytest.raises(GatedAccess, match="has no access") as caught:
        fetch(hub, tmp_path, "somebody-else")
    assert "somebody-else" not in str(caught.value)


def test_an_unreachable_hub_is_offline_unless_the_file_is_cached(hub: Hub, tmp_path: Path) -> None:
    closed = Hub(port=hub.port)
    cached = fetch(hub, tmp_path / "cached")
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        closed.port = taken.getsockname()[1]
        with pytest.raises(Offline, match="could not be downloaded from") as caught:
            fetch(closed, tmp_path / "empty")
        assert "give its path as the checkpoint" in str(caught.value)
        assert fetch(closed, tmp_path / "cached") == cached, (
            "what was downloaded before serves without a network"
        )


def test_offline_mode(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Offline, match="HF_HUB_OFFLINE"):
        fetch(hub, tmp_path)
    assert hub.tokens == []


@pytest.mark.parametrize("mode", ["broken", "foreign"])
def test_something_else_answers(hub: Hub, tmp_path: Path, mode: str) -> None:
    hub.mode = mode
    with pytest.raises(Offline, match=r"503|X-Repo-Commit"):
        fetch(hub, tmp_path)


def test_a_file_that_the_hub_does_not_have(hub: Hub, tmp_path: Path) -> None:
    hub.mode = "missing"
    with pytest.raises(CheckpointError, match=f"has no {FILE_NAME} of {REPOSITORY}"):
        fetch(hub, tmp_path)


def test_a_cache_that_cannot_be_written(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="was not stored"):
        download(endpoint=hub.url, cache_dir=tmp_path / "file" / "below")


def test_a_local_file_or_its_directory(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(CONTENT)
    other = tmp_path / "mine.pt"
    other.write_bytes(CONTENT)
    assert resolve_checkpoint(tmp_path) == tmp_path / FILE_NAME
    assert resolve_checkpoint(str(tmp_path / FILE_NAME)) == tmp_path / FILE_NAME
    assert resolve_checkpoint(other) == other


def test_the_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE_NAME).write_bytes(CONTENT)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_checkpoint("~") == tmp_path / FILE_NAME


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nowhere"):
        resolve_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=f"no {FILE_NAME} in the directory"):
        resolve_checkpoint(tmp_path)
