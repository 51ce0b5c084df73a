"""The two backends of `sam3-serve segment`: a running server, and the model in this process."""

import base64
import json
from dataclasses import dataclass
from typing import Protocol

import click

from serve_app.cli.client import Refused, Unanswered, one_line, read_json
from serve_app.cli.local_engine import local_engine
from serve_app.cli.question import Document
from serve_app.http.schemas import MAX_PROMPTS
from serve_app.settings import Settings

TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class ConceptAnswer:
    """The answer to one concept prompt. predictions: in RLE. warnings: sentences about the prompt."""

    predictions: list[Document]
    warnings: list[str]


class Backend(Protocol):
    """Answers prompts about an image."""

    def concepts(self, content: bytes, prompts: list[Document], threshold: float) -> list[ConceptAnswer]:
        """One answer per prompt."""
        ...

    def clicks(self, content: bytes, prompts: list[Document]) -> list[Document]:
        """One prediction per prompt, in RLE."""
        ...


class Server:
    """A running server. Raises click.ClickException."""

    def __init__(self, url: str, api_key: str | None, model: str | None = None) -> None:
        """model: the `model_id` of all requests; None: the server's default."""
        self._url = url
        self._model = {} if model is None else {"model_id": model}
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
                raise click.UsageError("the API key holds a character that no key has")
            self._headers["Authorization"] = f"Bearer {api_key}"

    def concepts(self, content: bytes, prompts: list[Document], threshold: float) -> list[ConceptAnswer]:
        """One answer per prompt."""
        found: list[ConceptAnswer] = []
        for start in range(0, len(prompts), MAX_PROMPTS):
            asked = {"prompts": prompts[start : start + MAX_PROMPTS], "output_prob_thresh": threshold}
            answer = self._post("/sam3/concept_segment", content, asked)
            found += [
                ConceptAnswer(self._predictions(result), self._warnings(result))
                for result in self._part(answer, "prompt_results")
            ]
        return found

    def clicks(self, content: bytes, prompts: list[Document]) -> list[Document]:
        """One prediction per prompt, in RLE."""
        return self._predictions(self._post("/sam3/visual_segment", content, {"prompts": prompts}))

    def _post(self, path: str, content: bytes, fields: Document) -> Document:
        image = {"type": "base64", "value": base64.b64encode(content).decode("ascii")}
        body = json.dumps({"image": image, "format": "rle", **self._model, **fields}).encode()
        try:
            return read_json(self._url + path, TIMEOUT_S, body, self._headers)
        except Refused as error:
            raise click.ClickException(str(error)) from error
        except Unanswered as error:
            raise self._no_server(str(error)) from error

    def _predictions(self, answer: Document) -> list[Document]:
        found = self._part(answer, "predictions")
        if not all(isinstance(one.get("confidence"), int | float) and "masks" in one for one in found):
            raise self._no_server("its answer is not of sam3-serve")
        return found

    def _warnings(self, result: Document) -> list[str]:
        """The warnings in a server's answer, one line each. An older server sends none."""
        told = result.get("warnings", [])
        return [one_line(str(text)) for text in told] if isinstance(told, list) else []

    def _part(self, answer: Document, name: str) -> list[Document]:
        found = answer.get(name)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._no_server(f"its answer has no {name}")
        return found

    def _no_server(self, reason: str) -> click.ClickException:
        return click.ClickException(
            f"no sam3-serve at {self._url} ({reason}): start one with `sam3-serve up`, or pass --local"
        )


class Local:
    """The model in this process. Raises EngineError, and ValueError for a device that is not there."""

    def __init__(self, settings: Settings) -> None:
        from sam3_engine.sdk import Sam3ForInteractiveImageSegmentation, SegmentAnything3

        engine = local_engine(settings)
        self._concepts = SegmentAnything3(engine=engine)
        self._clicks = Sam3ForInteractiveImageSegmentation(engine=engine)

    def concepts(self, content: bytes, prompts: list[Document], threshold: float) -> list[ConceptAnswer]:
        """One answer per prompt."""
        answer = self._concepts.segment_image(
            content, prompts=prompts, output_prob_thresh=threshold, format="rle"
        )
        return [
            ConceptAnswer(
                [{"confidence": found.confidence, "masks": found.masks} for found in result.predictions],
                result.warnings,
            )
            for result in answer.prompt_results
        ]

    def clicks(self, content: bytes, prompts: list[Document]) -> list[Document]:
        """One prediction per prompt, in RLE."""
        from sam3_engine.regions import RegionMask
        from sam3_engine.rle import to_rle

        masks, scores, _ = self._clicks.segment_image(content, prompts=prompts)
        return [
            {"confidence": float(score), "masks": to_rle(RegionMask.from_full(mask))}
            for mask, score in zip(masks, scores, strict=True)
        ]
