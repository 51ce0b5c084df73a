"""Labels images with a running service, several at a time: no model and no Ray here.

A service that is busy, or being replaced, is asked again. It decides by the key's tenant how much it accepts.
"""

import hashlib
import json
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import httpx
import pyarrow as pa

from sam3_engine.errors import EngineError
from sam3_engine.images import decode_image
from sam3_engine.types import Box
from serve_app.label.labeller import Prompt, prompts_of
from serve_app.label.labelling import Labelling
from serve_app.label.lists import SourceImage
from serve_app.label.objects import Found, objects_of
from serve_app.label.reading import look, one_line, read_file
from serve_app.label.rows import LABELLED

PROMPTS_AT_ONCE = 16
"""As many as a request may have."""
ANSWER_S = 300.0
PATIENCE_S = 900.0
"""For so long an image is sent again."""
LONGEST_WAIT_S = 30.0
AGAIN = (408, 429, 502, 503, 504)
UNREADABLE = (400, 413, 500)
"""Answers about one image, which another one need not get."""
LOOK_SIDE = 64
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class ServiceLost(Exception):
    """The service does not answer any more, or refuses the key; the message says which."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running service. requests: at a time. model_id: the model to ask; None: the service's default."""

    url: str
    api_key: str | None = None
    requests: int = 8
    max_pixels: int = 120_000_000
    model_id: str | None = None

    def label(self, images: Sequence[SourceImage], labelling: Labelling) -> Generator[pa.Table, None, None]:
        """Tables of `rows.LABELLED`, in any order. Raises ServiceLost."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        asker = _Asker(labelling, self.max_pixels, self.model_id)
        pool = ThreadPoolExecutor(self.requests)
        try:
            # A proxy of the environment does not reach this machine's own servers.
            proxies = httpx.URL(self.url).host not in LOOPBACK
            with httpx.Client(
                base_url=self.url, headers=headers, timeout=ANSWER_S, trust_env=proxies
            ) as client:
                waiting: set[Future[dict[str, Any]]] = set()
                for image in images:
                    waiting.add(pool.submit(asker.row, client, image))
                    if len(waiting) >= 2 * self.requests:
                        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        yield _table(done)
                while waiting:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield _table(done)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _table(done: set[Future[dict[str, Any]]]) -> pa.Table:
    return pa.Table.from_pylist([one.result() for one in done], schema=LABELLED)


class _Unreadable(Exception):
    """The service's word on an image."""


@dataclass(frozen=True, slots=True)
class _Asker:
    labelling: Labelling
    max_pixels: int
    model_id: str | None

    def row(self, client: httpx.Client, image: SourceImage) -> dict[str, Any]:
        """An image's row of `rows.LABELLED`."""
        row: dict[str, Any] = {"location": image.location, "name": image.name}
        try:
            content = read_file(image.location)
            square = decode_image(content, max_pixels=self.max_pixels, target=LOOK_SIDE).square
            prompts = prompts_of(self.labelling.classes)
            answers = [
                _ask(client, content, prompts[start : start + PROMPTS_AT_ONCE], self.model_id)
                for start in range(0, len(prompts), PROMPTS_AT_ONCE)
            ]
        except (EngineError, OSError, ValueError, ImportError, MemoryError, _Unreadable) as error:
            return {**row, "error": one_line(error)}
        results = [result for answer, _ in answers for result in answer["prompt_results"]]
        found = [
            Found(prompt, one["confidence"], _box(one["box"]), one["area"], one["masks"])
            for prompt, result in zip(prompts, results, strict=True)
            for one in result["predictions"]
            if one["area"] >= max(1, self.labelling.rules.smallest)
        ]
        first, model = answers[0]
        return {
            **row,
            "width": first["width"],
            "height": first["height"],
            "digest": hashlib.blake2b(content, digest_size=16).hexdigest(),
            "look": look(square),
            "objects": [one.fields() for one in objects_of(found, self.labelling.rules.nms)],
            "model": f"service {model}",
        }


def _ask(
    client: httpx.Client, content: bytes, prompts: Sequence[Prompt], model_id: str | None
) -> tuple[dict[str, Any], str]:
    """The answer, and the model's id. Raises _Unreadable and ServiceLost."""
    request = {
        "format": "rle",
        "prompts": [
            {"type": "text", "text": prompt.text, "output_prob_thresh": prompt.of.threshold}
            for prompt in prompts
        ],
        **({} if model_id is None else {"model_id": model_id}),
    }

    def send() -> httpx.Response:
        files: dict[str, tuple[str | None, bytes]] = {
            "image": ("image", content),
            "request": (None, json.dumps(request).encode()),
        }
        return client.post("/sam3/concept_segment", files=files)

    answer = _patiently(send)
    if answer.status_code in UNREADABLE:
        raise _Unreadable(_message(answer))
    if answer.status_code != httpx.codes.OK:
        raise ServiceLost(f"the service answers {answer.status_code}: {_message(answer)}")
    return answer.json(), answer.headers.get("X-Model-Id", "of an unknown model")


def _patiently(
    send: Callable[[], httpx.Response], sleep: Callable[[float], None] = time.sleep
) -> httpx.Response:
    """Send until there is an answer that stays. Raises ServiceLost after PATIENCE_S."""
    end, pause = time.monotonic() + PATIENCE_S, 0.5
    while True:
        try:
            answer = send()
            if answer.status_code not in AGAIN:
                return answer
            problem = f"it answers {answer.status_code}: {_message(answer)}"
            asked = answer.headers.get("Retry-After", "")
        except httpx.TransportError as error:
            problem, asked = one_line(error), ""
        pause = min(LONGEST_WAIT_S, float(asked) if asked.isdigit() else 2 * pause)
        if time.monotonic() + pause > end:
            raise ServiceLost(f"the service did not label an image for {PATIENCE_S:.0f} s: {problem}")
        sleep(pause)


def _box(corners: dict[str, float]) -> Box:
    return corners["x0"], corners["y0"], corners["x1"], corners["y1"]


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])[:300]
    except (ValueError, LookupError, TypeError):
        return " ".join(answer.text.split())[:300]
