"""The engine alone in one process, which `loadtest.workers` starts. It answers the requests of a load generator by
function calls, one after another; the server's additional time is the cost of serving.

Each image is decoded, encoded once and kept. Prompts become masks, and masks become JSON, which is not sent.
"""

import random
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from harness.records import Record
from loadtest.checks import Wrong, check
from loadtest.corpus import Corpus
from loadtest.plan import Plan, read_reference, serve_plans
from loadtest.scenarios import CONCEPT, KNOWN, VISUAL, Ask, Traffic, known
from sam3_engine.encode_masks import concept_instances, visual_instance
from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.features import Features
from sam3_engine.images import decode_image
from sam3_engine.types import ConceptPrompt, ImageSize, Instance, Point, VisualPrompt


@dataclass
class Bare:
    """Answers requests by calls of the engine."""

    engine: Engine
    _known: dict[bytes | str, tuple[Features, ImageSize]] = field(default_factory=dict)

    def answer(self, ask: Ask) -> bytes:
        """The body of the answer."""
        started = time.perf_counter()
        bodies = []
        for file in ask.files:
            features, size = self._image(ask.fields.get("image_id"), file)
            bodies.append(self._body(ask, features, size))
            bodies[-1]["time"] = time.perf_counter() - started
        return orjson.dumps(bodies if len(bodies) > 1 else bodies[0])

    def warm(self, corpus: Corpus) -> None:
        """Encode the images that the server has after the quiet reference: the pictures and those of `concept-hot`."""
        for picture in corpus.pictures:
            self._image(picture.name, picture.file(picture.name))
        for number in range(KNOWN):
            self._image(None, known(corpus, number)[1])

    def _image(self, name: str | None, file: bytes) -> tuple[Features, ImageSize]:
        known = self._known.get(name or file)
        if known is None:
            decoded = decode_image(file, max_pixels=10**8, target=self.engine.spec.image_size)
            features = self.engine.expand(self.engine.encode([decoded.square])[0])
            known = self._known[name or file] = (features, decoded.size)
        return known

    def _body(self, ask: Ask, features: Features, size: ImageSize) -> dict[str, Any]:
        if ask.route == CONCEPT:
            texts = [ConceptPrompt(prompt["text"]) for prompt in ask.fields["prompts"]]
            found = self.engine.segment_concepts([ConceptItem(features, size, texts)])[0]
            instances = concept_instances(found, size, "polygon", None)
        elif ask.route == VISUAL:
            clicks = [
                VisualPrompt(tuple(Point(p["x"], p["y"], p["positive"]) for p in prompt["points"]))
                for prompt in ask.fields["prompts"]
            ]
            masks = self.engine.segment_visual([VisualItem(features, size, clicks)])[0]
            instances = [[visual_instance(mask, size, "polygon")] for mask in masks]
        else:
            return {"image_id": ask.fields["image_id"]}
        results = [
            {
                "prompt_index": index,
                "echo": {"text": prompt.get("text")},
                "predictions": [_prediction(instance) for instance in mine],
            }
            for index, (prompt, mine) in enumerate(zip(ask.fields["prompts"], instances, strict=True))
        ]
        return {"prompt_results": results}


def _prediction(instance: Instance) -> dict[str, Any]:
    return {
        "format": "polygon",
        "confidence": instance.score,
        "masks": instance.masks,
        "box": dict(zip(("x0", "y0", "x1", "y1"), instance.box, strict=True)),
        "area": instance.area,
    }


def drive(plan: Plan, bare: Bare) -> list[Record]:
    """The plan's sessions, one request after another, without think time."""
    traffic = Traffic(plan.corpus(), plan.run, random.Random(f"{plan.run} sessions"))
    reference = read_reference(plan.reference)
    bare.warm(traffic.corpus)
    records: list[Record] = []
    began = time.perf_counter()
    while (now := time.perf_counter() - began) < plan.seconds:
        for ask in traffic.session(plan.scenario):
            now = time.perf_counter() - began
            body = bare.answer(ask)
            done = time.perf_counter() - began
            try:
                check(ask, body, reference)
                error = ""
            except Wrong as wrong:
                error = f"wrong answer: {wrong}"
            records.append(Record(ask.kind, now, now, done, 200, error, len(body)))
    return records


def main() -> None:
    """Arguments: threads, model."""
    bare = Bare(Engine.load(sys.argv[2], threads=int(sys.argv[1])))
    bare.engine.warm_up()
    serve_plans(lambda plan: drive(plan, bare))


if __name__ == "__main__":
    main()
