"""`sam3-serve evaluate`: compares models on images with true masks, prints a table, and writes JSON and a picture."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from sam3_engine.errors import EngineError
from serve_app.cli.evaluate_options import Asked
from serve_app.cli.extras import not_installed
from serve_app.cli.outputs import refuse_unwritable, write
from serve_app.cli.progress import progress
from serve_app.settings import Settings

if TYPE_CHECKING:
    from serve_app.evaluate.candidates import Candidate
    from serve_app.evaluate.comparison import Comparison
    from serve_app.label.classes import LabelClass
    from serve_app.label.lists import SourceImage
    from serve_app.label.truth import Truth

    Rows = Callable[[Sequence[SourceImage], Sequence[LabelClass]], Iterator[dict[str, Any]]]

LINE_S = 10.0
"""Seconds between the lines of a log, where there is no terminal."""
BEGUN = 4
"""Images after which the time that is left is told."""
SHOWN = 5
"""Images left out that are named; JSON has all."""


def run(settings: Settings, asked: Asked) -> None:
    """Compare the models. Raises click.ClickException."""
    try:
        import scipy.optimize  # noqa: F401 - matches masks

        from serve_app.evaluate.candidates import candidates
        from serve_app.label.lists import NoImages
        from serve_app.label.reasons import told
        from serve_app.label.service import ServiceLost
    except ImportError as error:
        raise not_installed("label", error) from error
    _refuse_outputs(asked)
    try:
        models = candidates(asked.models, served=asked.url is not None)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        truths, classes = _read(asked)
        found = _compare(settings, asked, models, truths, classes)
    except (NoImages, ServiceLost, EngineError, OSError, ValueError) as error:
        raise click.ClickException(told(error)) from error
    _tell(asked, found)


def _refuse_outputs(asked: Asked) -> None:
    from serve_app.evaluate.plot import ENDINGS

    if asked.plot and asked.plot.suffix.lower() not in ENDINGS:
        raise click.BadParameter(f"{asked.plot}: use one of {' '.join(ENDINGS)}", param_hint="--plot")
    inputs = [asked.ground_truth]
    for option, path in (("--json", asked.json), ("--plot", asked.plot)):
        if path:
            refuse_unwritable(path, option, asked.force, inputs)
            inputs.append(path)


def _note(text: str) -> None:
    click.echo(f"note: {text}", err=True)


def _read(asked: Asked) -> "tuple[list[Truth], list[LabelClass]]":
    """The images and classes to compare on. Raises NoImages and click.UsageError."""
    from serve_app.evaluate.questions import questions
    from serve_app.label.lists import NoImages
    from serve_app.label.truth import read_truth

    truths = read_truth(asked.ground_truth, root=str(asked.images) if asked.images else None)
    try:
        classes = questions(truths, asked.prompts, _note)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    truths = truths[: asked.limit]
    absent = [
        one.image
        for one in truths
        if "://" not in one.image.location and not os.path.lexists(one.image.location)
    ]
    if len(absent) == len(truths):
        raise NoImages(
            f"{asked.ground_truth}: none of its {len(truths)} images is there, such as {absent[0].location}. "
            "--images names the folder at which its paths start."
        )
    return truths, classes


def _compare(
    settings: Settings,
    asked: Asked,
    models: "Sequence[Candidate]",
    truths: "Sequence[Truth]",
    classes: "Sequence[LabelClass]",
) -> "Comparison":
    from serve_app.evaluate.comparison import compare
    from serve_app.label.tally import duration

    images = [truth.image for truth in truths]
    rows: dict[str, dict[str, Any]] = {}
    with progress(
        Console(stderr=True, highlight=False, soft_wrap=True, markup=False),
        "opening the models",
        every_s=LINE_S,
    ) as show:
        askers = _askers(settings, asked, models)
        for label, ask in askers.items():
            of_model: dict[str, Any] = {}
            show(f"loading {label}")
            began, first = 0.0, 0
            for row in ask(images, classes):
                of_model[row["location"]] = row
                done, more = len(of_model), len(images) - len(of_model)
                if done == BEGUN:  # the model was loaded before
                    began, first = time.monotonic(), done
                left = (
                    f", {duration((time.monotonic() - began) / (done - first) * more)} left"
                    if done > BEGUN
                    else ""
                )
                show(f"{label}: {done} of {len(images)} images{left}")
            rows[label] = of_model
        show("counting")
        found = compare(truths, classes, asked.threshold, rows)
        show("")
    return found


def _askers(settings: Settings, asked: Asked, models: "Sequence[Candidate]") -> "dict[str, Rows]":
    """For each label a function from images and classes to rows. Models of this process are found to fit before the
    first one works. Raises CheckpointError."""
    from serve_app.evaluate import answers
    from serve_app.evaluate.candidates import choice_of
    from serve_app.label.service import Service

    if asked.url:
        url = asked.url

        def from_server(one: "Candidate") -> "Rows":
            service = Service(url, asked.api_key, max_pixels=settings.max_image_pixels, model_id=one.where)
            return lambda images, classes: answers.served(images, classes, service)

        return {one.label: from_server(one) for one in models}

    def in_process(one: "Candidate") -> "Rows":
        choice = choice_of(one, settings)
        return lambda images, classes: answers.local(images, classes, choice, settings.max_image_pixels)

    return {one.label: in_process(one) for one in models}


def _tell(asked: Asked, found: "Comparison") -> None:
    from serve_app.evaluate.plot import document
    from serve_app.evaluate.table import lines
    from serve_app.label.reasons import told

    for location, why in list(found.left_out.items())[:SHOWN]:
        _note(f"left out: {location}: {why}")
    if len(found.left_out) > SHOWN:
        _note(f"left out: {len(found.left_out) - SHOWN} more images")
    for line in lines(found):
        click.echo(line)
    try:
        if asked.json:
            about = {"ground_truth": str(asked.ground_truth), **found.document()}
            text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
            write(asked.json, lambda path: path.write_text(text, encoding="utf-8"))
            click.echo(f"figures written to {asked.json}", err=True)
        if asked.plot:
            picture = document(found, asked.plot.suffix.lower())
            write(asked.plot, lambda path: path.write_text(picture, encoding="utf-8"))
            click.echo(f"drawn to {asked.plot}", err=True)
    except OSError as error:
        raise click.ClickException(f"the result could not be written: {told(error)}") from error
