"""What requests leave behind on a whole server: no key, no image, no text in any file, figure or answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from harness.server import ServerProcess, server_process
from serve_app.http.tenants import keyfile
from tests.support.scenes import as_json, encoded, scene

pytestmark = pytest.mark.slow
SECRET = "s3k_0123456789-very-secret-0123456789"
WRONG = "s3k_a-wrong-key-9876543210"
IMAGE_ID = "the-name-that-the-client-chose"
IMAGE = as_json(encoded(scene()))
TEXT = "a text that nobody else may read"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("guarded")
    keyfile.add(folder / "keys.json", "acme", key=SECRET)
    with server_process(folder, api_keys_file=str(folder / "keys.json")) as running:
        yield running


def send_everything(url: str) -> list[requests.Response]:
    """Requests that succeed and requests that fail, with a key in each of the three places."""
    answers = []
    bodies = (
        {"image": IMAGE, "image_id": IMAGE_ID, "prompts": [{"type": "text", "text": TEXT}]},
        {"image_id": IMAGE_ID + "-unknown", "prompts": [{"type": "text", "text": TEXT}]},
        {"image": {"type": "base64", "value": "%" + SECRET}, "prompts": [{"type": "text", "text": TEXT}]},
        {"image": {"type": "url", "value": f"https://127.0.0.1/a.png?api_key={SECRET}"}, "prompts": []},
        {"image": as_json(b"GIF89a" + SECRET.encode()), "prompts": [{"type": "text", "text": TEXT}]},
    )
    for key in (SECRET, WRONG):
        for query, headers, extra in (
            (f"?api_key={key}&service_secret={key}", {}, {}),
            ("", {"Authorization": f"Bearer {key}"}, {}),
            ("", {}, {"api_key": key}),
        ):
            for body in bodies:
                route = f"{url}/sam3/concept_segment{query}"
                answers.append(requests.post(route, json={**body, **extra}, headers=headers, timeout=60))
            answers.append(requests.get(f"{url}/nowhere{query}", headers=headers, timeout=60))
    return answers


def test_nothing_secret_is_left_behind(server: ServerProcess) -> None:
    answers = send_everything(server.url)
    assert {200, 400, 401, 404, 422} <= {answer.status_code for answer in answers}
    metrics = requests.get(f"{server.url}/metrics", timeout=60).text
    folder = server.run_folder()
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    logs = [path for path in files if path.suffix in (".log", ".out", ".err")]
    assert len(logs) > 10, "the logs of Ray, Serve and the replicas are among what is searched"

    left = {"answers": "".join(answer.text + str(answer.headers) for answer in answers), "metrics": metrics}
    left |= {str(path): text_of(path) for path in (*files, server.output)}
    for secret in (SECRET, WRONG, IMAGE["value"][:60], TEXT):
        found = [name for name, text in left.items() if secret in text]
        # An answer's echo repeats the prompt's text, as the contract says.
        assert found == (["answers"] if secret == TEXT else []), secret
    assert [name for name, text in left.items() if IMAGE_ID in text] == ["answers"]


def text_of(path: Path) -> str:
    """A file's bytes as text; nothing for one that went away."""
    try:
        return path.read_bytes().decode("latin-1")
    except FileNotFoundError:
        return ""
