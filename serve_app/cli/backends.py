"""The two backends of `sam3-serve segment`: a running server, and the model in this process."""

import base64
import json
from typing import Protocol
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import click

from serve_app.cli.question import Document
from serve_app.settings import Settings

TIMEOUT_S = 300.0


class Backend(Protocol):
    """Answers prompts about an image."""

    def concepts(self, content: bytes, prompts: list[Document], threshold: float) -> list[list[Document]]:
        """Per prompt, its predictions in RLE."""
        ...

    def clicks(self, content: bytes, prompts: list[Document]) -> list[Document]:
        """One prediction per prompt, in RLE."""
        ...


class Server:
    """A running server. Raises click.ClickException."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = url.rstrip("/")
        self._api_key = api_key

    def concepts(self, content: bytes, prompts: list[Document], threshold: float) -> list[list[Document]]:
        """Per prompt, its predictions in RLE."""
        asked = {"prompts": prompts, "output_prob_thresh": threshold}
        answer = self._post("/sam3/concept_segment", content, asked)
        return [result["predictions"] for result in answer["prompt_results"]]

    def clicks(self, content: bytes, prompts: list[Document]) -> list[Document]:
        """One prediction per prompt, in RLE."""
        answer = self._post("/sam3/visual_segment", content, {"prompts": prompts})
        predictions: list[Document] = answer["predictions"]
        return predictions

    def _post(self, path: str, content: bytes, fields: Document) -> Document:
        image = {"type": "base64", "value": base64.b64encode(content).decode("ascii")}
        headers = {"Content-Type": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        if not self._url.startswith(("http://", "https://")):
            raise click.ClickException(f"{self._url} is not an http(s) address")
        body = json.dumps({"image": image, "format": "rle", **fields}).encode()
        request = Request(self._url + path, body, headers)  # noqa: S310 - checked above
        try:
            with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                answer: Document = json.load(response)
                return answer
        except HTTPError as error:
            raise click.ClickException(
                f"the server answered {error.code}: {_message(error.read())}"
            ) from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise click.ClickException(
                f"no server at {self._url} ({reason}): start one with `sam3-serve up`, or pass --local"
            ) from error


class Local:
    """The model in this process. Raises EngineError."""

    def __init__(self, settings: Settings) -> None:
        from sam3_engine.engine import Engine
        from sam3_engine.sdk import Sam3ForInteractiveImageSegmentation, SegmentAnything3

        engine = Engine.load(
            settings.model,
            checkpoint=str(settings.checkpoint) if settings.checkpoint else None,
            device=settings.device,
            dtype=settings.dtype,
        )
        self._concepts = SegmentAnything3(engine=engine)
        self._clicks = Sam3ForInteractiveImageSegmentation(engine=engine)

    def concepts(self, content: bytes, prompts: list[Document], threshold: float) -> list[list[Document]]:
        """Per prompt, its predictions in RLE."""
        answer = self._concepts.segment_image(
            content, prompts=prompts, output_prob_thresh=threshold, format="rle"
        )
        return [
            [{"confidence": found.confidence, "masks": found.masks} for found in result.predictions]
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


def _message(body: bytes) -> str:
    try:
        document = json.loads(body)
        return str(document.get("message") or document.get("detail"))
    except (ValueError, AttributeError):
        return body[:200].decode(errors="replace")
