"""The baseline servers for comparison with ours: one FastAPI process around the `sam3` package with a lock.

    python -m loadtest.naive --port 9100             encodes the image of every request
    python -m loadtest.naive --port 9100 --cache     keeps the full state of named images for clicks, as the peer does

They have the same weights, routes and form of answers. They lack keys, limits and errors, which makes them faster.
"""

import argparse
import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import pybase64
import uvicorn
from fastapi import FastAPI, Request, Response
from PIL import Image

from harness.official import Official, prediction
from sam3_engine.engine import Engine

STATES = 256
"""Most images whose state the cache keeps."""


class Model:
    """The package's model behind a lock."""

    def __init__(self, model: str, threads: int, cache: bool) -> None:
        self._official = Official(Engine.load(model, threads=threads))
        self._lock = threading.Lock()
        self._states: OrderedDict[str, Any] | None = OrderedDict() if cache else None

    def concept(self, fields: dict[str, Any], file: bytes) -> dict[str, Any]:
        """All prompts of one image, one after another."""
        started = time.perf_counter()
        with self._lock:
            state = self._official.set_image(_open(file))
            found = [self._official.concept(state, prompt["text"]) for prompt in fields["prompts"]]
        results = [
            {
                "prompt_index": index,
                "echo": {"prompt_index": index, "type": "text", "text": prompt["text"], "num_boxes": 0},
                "predictions": [prediction(mask) for mask in masks],
            }
            for index, (prompt, masks) in enumerate(zip(fields["prompts"], found, strict=True))
        ]
        return {"prompt_results": results, "time": time.perf_counter() - started}

    def visual(self, fields: dict[str, Any], file: bytes | None) -> dict[str, Any]:
        """One mask per prompt."""
        started = time.perf_counter()
        with self._lock:
            state = self._state(fields.get("image_id"), file)
            masks = []
            for prompt in fields["prompts"]:
                points = [(point["x"], point["y"]) for point in prompt["points"]]
                masks.append(
                    self._official.click(state, points, [int(p["positive"]) for p in prompt["points"]])
                )
        found = [prediction(mask) for mask in masks]
        return {
            "predictions": found,
            "prompt_results": [
                {"prompt_index": index, "predictions": [one]} for index, one in enumerate(found)
            ],
            "time": time.perf_counter() - started,
        }

    def embed(self, fields: dict[str, Any], file: bytes) -> dict[str, Any]:
        """Encode an image, and keep its state if this server has a cache."""
        started = time.perf_counter()
        with self._lock:
            self._state(fields["image_id"], file)
        return {"image_id": fields["image_id"], "time": time.perf_counter() - started}

    def _state(self, name: str | None, file: bytes | None) -> Any:
        if self._states is not None and file is None:
            self._states.move_to_end(str(name))
            return self._states[str(name)]
        assert file is not None, "this server keeps no images: send it"
        state = self._official.set_image(_open(file))
        if self._states is not None and name:
            self._states[name] = state
            while len(self._states) > STATES:
                self._states.popitem(last=False)
        return state


def _open(file: bytes) -> Image.Image:
    return Image.open(BytesIO(file)).convert("RGB")


def create_app(model: Model) -> FastAPI:
    """The three routes."""
    app = FastAPI()

    async def read(request: Request) -> tuple[dict[str, Any], list[bytes]]:
        if request.headers["content-type"].startswith("multipart/"):
            form = await request.form()
            fields = await _json(str(form["request"]))
            return fields, [await part.read() for part in form.getlist("image") if not isinstance(part, str)]
        fields = await _json((await request.body()).decode())
        images = fields.pop("image", None) or []
        listed = images if isinstance(images, list) else [images]
        return fields, [pybase64.b64decode(image["value"]) for image in listed]

    async def answer(request: Request, ask: Callable[[dict[str, Any], Any], dict[str, Any]]) -> Any:
        fields, files = await read(request)
        each: Sequence[bytes | None] = files or [None]
        bodies = [await asyncio.to_thread(ask, fields, file) for file in each]
        return bodies if len(bodies) > 1 else bodies[0]

    @app.post("/sam3/concept_segment")
    async def concept_segment(request: Request) -> Any:
        return await answer(request, model.concept)

    @app.post("/sam3/visual_segment")
    async def visual_segment(request: Request) -> Any:
        return await answer(request, model.visual)

    @app.post("/sam3/embed_image")
    async def embed_image(request: Request) -> Any:
        return await answer(request, model.embed)

    @app.get("/readiness")
    async def readiness() -> Response:
        return Response('{"status":"ready"}', media_type="application/json")

    return app


async def _json(text: str) -> dict[str, Any]:
    import orjson

    fields: dict[str, Any] = orjson.loads(text)
    return fields


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", action="store_true")
    asked = parser.parse_args()
    app = create_app(Model(asked.model, asked.threads, asked.cache))
    uvicorn.run(app, host="127.0.0.1", port=asked.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
