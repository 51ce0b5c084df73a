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
from sam3_engine.regions import RegionMask
from sam3_engine.types import ImageSize
from serve_app.cli.backends import Backend
from serve_app.cli.client import one_line
from serve_app.cli.outputs import refuse_unknown_picture, refuse_unwritable, write
from serve_app.cli.question import Document, Question


@dataclass(frozen=True, slots=True)
class Finding:
    """An instance: its prompt's label, its confidence, and its mask in COCO run-length encoding."""

    label: str
    confidence: float
    rle: Document = field(repr=False)


def ask(backend: Backend, content: bytes, question: Question) -> list[Finding]:
    """All instances found, prompt by prompt. Prints the answers' warnings on stderr, one a line."""
    concepts, clicks = question.concepts(), question.clicks()
    found = []
    if concepts:
        answers = backend.concepts(content, concepts, question.threshold)
        for prompt, of_prompt in zip(concepts, answers, strict=True):
            label = prompt.get("text") or "example"
            for warning in of_prompt.warnings:
                click.echo(f"warning: {one_line(label)[:40]}: {warning}", err=True)
            found += [Finding(label, one["confidence"], one["masks"]) for one in of_prompt.predictions]
    if clicks:
        found += [
            Finding("object", one["confidence"], one["masks"]) for one in backend.clicks(content, clicks)
        ]
    return found


def run(
    backend: Callable[[], Backend],
    image: Path,
    question: Question,
    output: Path,
    answer: Path | None,
    force: bool = False,
) -> None:
    """Segment an image, print the instances and draw them. backend: makes the backend, after the image was read.
    force: overwrite files that exist.

    Raises click.ClickException, for outputs and prompts before the model is asked.
    """
    refuse_unknown_picture(output, "-o")
    refuse_unwritable(output, "-o", force, [image])
    if answer:
        refuse_unwritable(answer, "--masks", force, [image, output])
    try:
        content = image.read_bytes()
        picture = open_upright(content)
        size = ImageSize(picture.height, picture.width)
        question.check(size)
        found = ask(backend(), content, question)
        masks = [LabelledMask(one.label, one.confidence, _decoded(one.rle, size)) for one in found]
    except (EngineError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    for one, mask in zip(found, masks, strict=True):
        click.echo(f"{one.label}: {one.confidence:.2f}, {mask.mask.area} pixels")
    if not found:
        click.echo("nothing found")
    try:
        write(output, draw_instances(picture, masks).save)
        click.echo(f"drawn to {output}")
        if answer:
            listed = [{"label": one.label, "confidence": one.confidence, "rle": one.rle} for one in found]
            write(answer, lambda path: path.write_text(json.dumps(listed)))
            click.echo(f"masks written to {answer}")
    except OSError as error:
        raise click.ClickException(f"the result could not be written: {error}") from error


def _decoded(rle: Document, size: ImageSize) -> RegionMask:
    """Raises ValueError for masks of another image, or of no form."""
    try:
        return decode_masks(rle, "rle", size)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError("the server's answer holds a mask that is none of this image") from error
