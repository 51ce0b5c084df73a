"""`GET /workflows/blocks/describe`: megabytes that anybody may ask for, made once."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from starlette.types import Message, Scope

from deployments.protocol import Overloaded, Timings
from deployments.workflows.protocol import Question, WorkflowAnswer, WorkflowRun
from serve_app.http.app import create_app
from serve_app.http.around.described import PIECE_BYTES, Kept, KeptResponse
from serve_app.http.reading.arrival import Arrivals
from serve_app.settings import Settings
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving
from tests.support.patience import PATIENCE_S

BODY = b'{"blocks":[' + b",".join([b'{"type":"a step of some kind"}'] * 20_000) + b"]}"


class FakeWorkflows:
    """Answers questions, and counts them."""

    def __init__(self, status: int = 200) -> None:
        self.asked: list[Question] = []
        self.status = status
        self.go = threading.Event()
        self.go.set()

    async def ask(self, question: Question, document: dict[str, Any], timings: Timings) -> WorkflowAnswer:
        self.asked.append(question)
        await asyncio.to_thread(self.go.wait)
        return WorkflowAnswer(self.status, BODY if self.status == 200 else b'{"message":"no"}')

    async def run(self, run: WorkflowRun, timings: Timings) -> WorkflowAnswer:
        raise NotImplementedError


@contextmanager
def server(workflows: FakeWorkflows, **settings: Any) -> Iterator[str]:
    app = create_app(FakeSegmenter(), Settings(workflows=True, **settings), workflows=workflows)
    with serving(app) as url:
        yield f"{url}/workflows/blocks/describe"


def get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, headers=headers, timeout=PATIENCE_S)


def test_it_is_made_once_and_kept_compressed() -> None:
    workflows = FakeWorkflows()
    with server(workflows) as url:
        plain, compressed = (get(url, **{"Accept-Encoding": one}) for one in ("identity", "gzip"))
    assert plain.content == compressed.content == BODY
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert int(compressed.headers["content-length"]) < len(BODY) / 100
    assert plain.headers["content-type"] == compressed.headers["content-type"] == "application/json"
    assert "Accept-Encoding" in compressed.headers["vary"]
    assert workflows.asked == ["describe_blocks"]


def test_a_client_that_has_it_gets_304() -> None:
    with server(FakeWorkflows()) as url:
        etag = get(url).headers["etag"]
        again = get(url, **{"If-None-Match": f"W/{etag}"})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)


def test_requests_at_the_same_time_ask_once() -> None:
    workflows = FakeWorkflows()
    workflows.go.clear()
    answers: list[int] = []
    with server(workflows) as url:
        threads = [threading.Thread(target=lambda: answers.append(get(url).status_code)) for _ in range(8)]
        for thread in threads:
            thread.start()
        while not workflows.asked:
            time.sleep(0.005)
        workflows.go.set()
        for thread in threads:
            thread.join()
    assert answers == [200] * 8
    assert len(workflows.asked) == 1


def test_making_it_counts_as_work() -> None:
    workflows = FakeWorkflows()
    workflows.go.clear()
    with server(workflows, max_in_flight=1) as url:
        thread = threading.Thread(target=get, args=(url,))
        thread.start()
        while not workflows.asked:
            time.sleep(0.005)
        embed = url.replace("workflows/blocks/describe", "sam3/embed_image")
        assert requests.post(embed, json={}, timeout=PATIENCE_S).status_code == 503
        workflows.go.set()
        thread.join()
        answer = requests.post(embed, json={}, timeout=PATIENCE_S)
        assert answer.status_code == 422, answer.text


def test_an_error_is_answered_and_not_kept() -> None:
    workflows = FakeWorkflows(status=500)
    with server(workflows) as url:
        assert get(url).status_code == 500
        workflows.status = 200
        assert get(url).status_code == 200


async def test_clients_that_do_not_read_it_have_the_share_of_clients_without_a_key() -> None:
    """An answer that is not read holds no copy, and beside the share's others only."""
    kept = Kept(BODY, b"", '"tag"')
    arrivals = Arrivals(Settings(max_bodies=8), alone=True)
    sent: list[int] = []

    async def unread(message: Message) -> None:
        sent.append(len(message.get("body", b"")))
        if len(sent) > 2:
            await asyncio.Event().wait()

    async def never() -> Message:
        raise AssertionError

    scope: Scope = {"type": "http", "method": "GET", "headers": []}
    waiting = [asyncio.ensure_future(KeptResponse(kept, arrivals)(scope, never, unread)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await KeptResponse(kept, arrivals)(scope, never, unread)
    with arrivals.begin("acme"):
        pass
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert max(sent) <= PIECE_BYTES
    with arrivals.begin(None):
        pass
