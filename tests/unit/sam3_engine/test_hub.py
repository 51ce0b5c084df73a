"""The Hub is played by a small server on the loopback; nothing leaves the machine."""

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

import pytest

from sam3_engine.errors import CheckpointError, GatedAccess, Offline
from sam3_engine.hub import FILE_NAME, REPOSITORY, resolve_checkpoint
from tests.support.plain_server import plain_server

CONTENT = b"the weights" * 1000
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Answers as the real one does.

    mode: open, gated (wants the token "granted"), forbidden, missing, broken, or foreign (no Hub at all). files: bytes
    by repository and name. cut: where the first downloads break off, once each. damage: is sent instead.
    """

    mode: str = "open"
    port: int = 0
    downloads: int = 0
    tokens: list[str | None] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=lambda: {f"{REPOSITORY}/{FILE_NAME}": CONTENT})
    revisions: set[str] = field(default_factory=set)
    ranges: list[str] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    damage: bytes | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def find(self, path: str) -> bytes | None:
        """The file at `/owner/name/resolve/revision/file`."""
        repository, found, rest = path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if found:
            self.revisions.add(unquote(revision))
        return self.files.get(f"{repository}/{name}")

    def answer(self, token: str | None, content: bytes | None) -> tuple[int, dict[str, str]]:
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound"}
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
        return 200, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}


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
            content = state.find(self.path)
            status, headers = state.answer(self.headers.get("Authorization"), content)
            content = content if content is not None and status == 200 else b""
            whole = len(content)
            asked = self.headers.get("Range")
            if body and asked and content:
                state.ranges.append(asked)
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                status, content = 206, content[start:]
                headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                state.downloads += 1
                sent = state.damage if state.damage is not None else content
                self.wfile.write(sent[: state.cut.pop(0)] if state.cut else sent)
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    with plain_server(Handler) as state.port:
        yield state


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client asks its real home for nothing, and no retry waits."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr("time.sleep", lambda _: None)


def reference(hub: Hub, cache: Path, text: str | None, token: str | None = None) -> Path:
    """The checkpoint, where the client's settings name this Hub, folder and token."""
    constants = "huggingface_hub.constants"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{constants}.ENDPOINT", hub.url)
        patch.setattr(
            f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE",
            f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        )
        patch.setattr(f"{constants}.HF_HUB_CACHE", str(cache))
        patch.setattr("huggingface_hub.get_token", lambda: token)
        patch.setattr("huggingface_hub.utils._headers.get_token", lambda: token)
        return resolve_checkpoint(text)


def fetch(hub: Hub, cache: Path, token: str | None = None) -> Path:
    return reference(hub, cache, None, token)


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
    """The test uses a process of its own: the Hub's client reads its settings when it is imported."""
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
        fetch(hub, tmp_path / "file" / "below")


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
    with pytest.raises(CheckpointError, match="no checkpoint in the directory"):
        resolve_checkpoint(tmp_path)


def test_a_directory_with_one_checkpoint_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "mine.safetensors").write_bytes(CONTENT)
    assert resolve_checkpoint(tmp_path) == tmp_path / "mine.safetensors"
    (tmp_path / "other.pt").write_bytes(CONTENT)
    with pytest.raises(CheckpointError, match=r"several files .*\(mine.safetensors, other.pt\): name one"):
        resolve_checkpoint(tmp_path)


def test_any_repository_revision_and_file(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"me/fine-tunes/runs/7/checkpoint.pt": b"mine"}
    path = reference(hub, tmp_path, "hf://me/fine-tunes@v1.2/runs/7/checkpoint.pt")
    assert path.read_bytes() == b"mine"
    assert "v1.2" in hub.revisions
    assert "main" not in hub.revisions


def test_a_revision_with_a_slash(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"me/it/sam3.pt": b"mine"}
    reference(hub, tmp_path, "hf://me/it@refs%2Fpr%2F3/sam3.pt")
    assert "refs/pr/3" in hub.revisions


@pytest.mark.parametrize("name", ["sam3.pt", "sam3.1_multiplex.pt", "model.safetensors"])
def test_a_repository_without_a_file_gives_the_usual_one(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.files = {f"facebook/sam3.1/{name}": b"weights", "facebook/sam3.1/config.json": b"{}"}
    path = reference(hub, tmp_path, "hf://facebook/sam3.1")
    assert (path.name, path.read_bytes()) == (name, b"weights")
    assert (path.parent / "config.json").exists() is (name == "model.safetensors")


def test_all_files_of_a_sharded_checkpoint_come(hub: Hub, tmp_path: Path) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": bytes([n]) for n in (1, 2)}
    index = json.dumps(
        {"weight_map": dict.fromkeys("ab", next(iter(shards))) | {"c": list(shards)[1]}}
    ).encode()
    hub.files = {f"me/it/{name}": content for name, content in shards.items()}
    hub.files["me/it/model.safetensors.index.json"] = index
    path = reference(hub, tmp_path, "hf://me/it")
    assert path.name == "model.safetensors.index.json"
    assert {name: (path.parent / name).read_bytes() for name in shards} == shards


def test_an_adapter_comes_with_its_configuration(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"me/it/adapter_model.safetensors": b"weights"}
    with pytest.raises(CheckpointError, match=r"no adapter_config.json|has no adapter_config"):
        reference(hub, tmp_path / "one", "hf://me/it")
    hub.files["me/it/adapter_config.json"] = b"{}"
    assert (
        reference(hub, tmp_path / "two", "hf://me/it").parent / "adapter_config.json"
    ).read_bytes() == b"{}"


def test_a_repository_with_none_of_the_usual_files(hub: Hub, tmp_path: Path) -> None:
    hub.files = {}
    with pytest.raises(CheckpointError, match=r"me/it on the Hub has none of sam3\.pt"):
        reference(hub, tmp_path, "hf://me/it")


def test_without_a_network_the_cached_file_of_a_repository_serves(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"me/it/model.safetensors": b"weights"}
    cached = reference(hub, tmp_path, "hf://me/it")
    hub.mode = "broken"
    assert reference(hub, tmp_path, "hf://me/it") == cached


@pytest.mark.parametrize(
    "text", ["hf://", "hf://me", "hf:/me/it", "hf://me/it/../../x", "hf://me/it@/x", "hf://m e/it"]
)
def test_a_wrong_reference_is_explained(text: str) -> None:
    with pytest.raises(CheckpointError, match="hf://owner/name"):
        resolve_checkpoint(text)


def test_an_interrupted_download_goes_on_where_it_stopped(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.cut = [4000]
    assert fetch(hub, tmp_path).read_bytes() == CONTENT
    assert hub.ranges == ["bytes=4000-"]


def test_a_download_that_arrives_damaged_is_removed(hub: Hub, tmp_path: Path) -> None:
    hub.damage = bytes(len(CONTENT))
    with pytest.raises(CheckpointError, match="arrived damaged"):
        fetch(hub, tmp_path)
    hub.damage = None
    assert fetch(hub, tmp_path).read_bytes() == CONTENT
