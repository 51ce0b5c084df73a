"""`sam3-serve segment`: gets the masks of an image, prints them and draws them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click

from sam3_engine.decode_masks import decode_masks
from sam3_engine.draw import LabelledMask, draw_instances
from sam3_engine.errors import EngineError
from sam3_engine.images import open_upright
from sam3_engine.types import ImageSize
from serve_app.cli.backends import Backend
from serve_app.cli.question import Document, Question


@dataclass(frozen=True, slots=True)
class Finding:
    """An instance: its prompt's label, its confidence, and its mask in COCO run-length encoding."""

    label: str
    confidence: float
    rle: Document = field(repr=False)


def ask(backend: Backend, content: bytes, question: Question) -> list[Finding]:
    """All instances found, prompt by prompt. Raises click.UsageError without a prompt."""
    concepts, clicks = question.concepts(), question.clicks()
    if not concepts and not clicks:
        raise click.UsageError("say what to look for: --text, --like, --point or --box")
    found = []
    if concepts:
        answers = backend.concepts(content, concepts, question.threshold)
        for prompt, predictions in zip(concepts, answers, strict=True):
            label = prompt.get("text") or "example"
            found += [Finding(label, one["confidence"], one["masks"]) for one in predictions]
    if clicks:
        found += [
            Finding("object", one["confidence"], one["masks"]) for one in backend.clicks(content, clicks)
        ]
    return found


def run(
    backend: Callable[[], Backend], image: Path, question: Question, output: Path, answer: Path | None
) -> None:
    """Segment an image, print the instances and draw them. backend: makes the backend, after the image was read.

    Raises click.ClickException.
    """
    try:
        content = image.read_bytes()
        picture = open_upright(content)
        found = ask(backend(), content, question)
    except (EngineError, OSError) as error:
        raise click.ClickException(str(error)) from error
    size = ImageSize(picture.height, picture.width)
    masks = [LabelledMask(one.label, one.confidence, decode_masks(one.rle, "rle", size)) for one in found]
    for one, mask in zip(found, masks, strict=True):
        click.echo(f"{one.label}: {one.confidence:.2f}, {mask.mask.area} pixels")
    if not found:
        click.echo("nothing found")
    draw_instances(picture, masks).save(output)
    click.echo(f"drawn to {output}")
    if answer:
        listed = [{"label": one.label, "confidence": one.confidence, "rle": one.rle} for one in found]
        answer.write_text(json.dumps(listed))
        click.echo(f"masks written to {answer}")
