"""Traces of requests and of servers. No key, image or text of a request is in any file, figure, span or answer. A
server that was killed leaves nothing behind."""

from pathlib import Path

import psutil
import requests

from harness.server import STOP_S
from tests.integration.conftest import KEY, Observed
from tests.support.scenes import as_json, encoded, scene

WRONG = "s3k_a-wrong-key-9876543210"
IMAGE_ID = "the-name-that-the-client-chose"
IMAGE = as_json(encoded(scene()))
TEXT = "a text that nobody else may read"


def send_everything(url: str) -> list[requests.Response]:
    """Requests that succeed and requests that fail, with a key in each of the three places."""
    answers = []
    bodies = (
        {"image": IMAGE, "image_id": IMAGE_ID, "prompts": [{"type": "text", "text": TEXT}]},
        {"image_id": IMAGE_ID + "-unknown", "prompts": [{"type": "text", "text": TEXT}]},
        {"image": {"type": "base64", "value": "%" + KEY}, "prompts": [{"type": "text", "text": TEXT}]},
        {"image": {"type": "url", "value": f"https://127.0.0.1/a.png?api_key={KEY}"}, "prompts": []},
        {"image": as_json(b"GIF89a" + KEY.encode()), "prompts": [{"type": "text", "text": TEXT}]},
    )
    for key in (KEY, WRONG):
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


def test_nothing_secret_is_left_behind(observed_server: Observed) -> None:
    server = observed_server.server
    answers = send_everything(server.url)
    assert {200, 400, 401, 404, 422} <= {answer.status_code for answer in answers}
    metrics = requests.get(f"{server.url}/metrics", timeout=60).text
    folder = server.run_folder()
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    logs = [path for path in files if path.suffix in (".log", ".out", ".err")]
    assert len(logs) > 10, "the logs of Ray, Serve and the replicas are among what is searched"

    left = {"answers": "".join(answer.text + str(answer.headers) for answer in answers), "metrics": metrics}
    left |= {str(path): text_of(path) for path in (*files, server.output)}
    left |= {"spans": str(observed_server.collector.spans), "access log": text_of(observed_server.access_log)}
    for secret in (KEY, WRONG, IMAGE["value"][:60], TEXT):
        found = [name for name, text in left.items() if secret in text]
        # An answer's echo repeats the prompt's text, as the contract says.
        assert found == (["answers"] if secret == TEXT else []), secret
    kept = [name for name in left if Path(name).is_relative_to(folder / "store")]
    assert kept, "the store keeps ids and image files, in this private folder that goes with the server"
    assert [name for name, text in left.items() if IMAGE_ID in text and name not in kept] == ["answers"]


def text_of(path: Path) -> str:
    """A file's bytes as text; nothing for one that went away."""
    try:
        return path.read_bytes().decode("latin-1")
    except FileNotFoundError:
        return ""


def test_a_server_that_is_killed_leaves_nothing_behind(observed_server: Observed) -> None:
    """The last test of this server, which gets no chance to clean up."""
    server = observed_server.server
    started, folder = server.descendants(), server.run_folder()
    assert len(started) > 10
    server.process.kill()
    server.process.wait(STOP_S)
    _, alive = psutil.wait_procs(started, timeout=STOP_S)
    assert alive == []
    assert not folder.exists()
