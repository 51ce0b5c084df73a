"""The model behind `sam3-serve label`: one in Ray's actors, or that of a running service."""

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape

from serve_app.cli.label_options import Asked
from serve_app.cli.preflight import weights
from serve_app.cli.progress import progress
from serve_app.cli.stop_signal import SIGNALS, StopSignal
from serve_app.cli.up import reason
from serve_app.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from serve_app.label.classes import LabelClass
    from serve_app.label.labelling import Labelling
    from serve_app.label.lists import SourceImage
    from serve_app.label.run import Labeller

LINE_S = 10.0
"""Seconds between the lines of a log, where there is no terminal."""


def labelling_of(settings: Settings, asked: Asked) -> "Labelling":
    """The classes, phrases and rules that the command asks for. Raises click.ClickException."""
    from serve_app.label.labeller import ModelChoice
    from serve_app.label.labelling import Labelling
    from serve_app.label.objects import Rules

    if asked.url:
        choice = ModelChoice("service", asked.served)
    else:
        if not asked.dry_run:  # which would download weights
            settings = settings.model_copy(update=weights(settings))
        choice = ModelChoice.of(settings)
    rules = Rules(None if asked.nms == 1 else asked.nms, asked.smallest)
    try:
        return Labelling(_classes(asked), choice, rules)
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from error


def _classes(asked: Asked) -> "list[LabelClass]":
    """Raises ValueError."""
    from serve_app.label.classes import ClassLine, file_lines, parse_classes

    lines = list(file_lines(asked.classes)) if asked.classes else []
    lines += [ClassLine(text, "--class") for text in asked.lines]
    if not lines:
        empty = f"{asked.classes} has no class" if asked.classes else "no class is named"
        raise ValueError(f"{empty}: pass --classes FILE, or --class NAME")
    return parse_classes(lines, asked.threshold)


@contextmanager
def labeller(
    settings: Settings, asked: Asked, labelling: "Labelling", stop: StopSignal, show: Callable[[str], None]
) -> "Iterator[Labeller]":
    """A function from images to tables of the found objects. Raises click.ClickException where Ray fails."""
    with _handlers_restored():
        stop.listen()
        if asked.url:
            from serve_app.label.service import Service

            service = Service(
                asked.url, asked.api_key, max_pixels=settings.max_image_pixels, model_id=asked.served
            )
            yield lambda images, one_by_one: service.label(images, labelling)
        else:
            show("starting Ray")
            with _ray(settings, asked):
                stop.listen()  # Ray has put handlers of its own in place
                yield _pipeline(settings, asked, labelling)


@contextmanager
def _handlers_restored() -> Iterator[None]:
    before = {each: signal.getsignal(each) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _ray(settings: Settings, asked: Asked) -> Iterator[None]:
    from serve_app.cli.local_ray import cluster_ray, local_ray

    around: AbstractContextManager[object]
    around = cluster_ray(asked.address) if asked.address else local_ray(settings)
    try:
        with around:
            yield
    except Exception as error:
        from ray.exceptions import RayError  # Ray reads its environment when it is imported

        if not isinstance(error, RayError):
            raise
        raise click.ClickException(f"the run ended early: {reason(str(error))}") from error


def _pipeline(settings: Settings, asked: Asked, labelling: "Labelling") -> "Labeller":
    import ray

    from sam3_engine.spec import SPECS
    from serve_app.label.pipeline import labelled, scale_of, set_up, tables

    there = ray.cluster_resources()
    scale = scale_of(settings.device, asked.actors, asked.batch, there)
    if not scale.gpus and not asked.address:
        choice = replace(labelling.choice, threads=max(1, int(there["CPU"]) // scale.actors))
        labelling = replace(labelling, choice=choice)
    side = SPECS[settings.model.removesuffix("-random")].image_size
    set_up()

    def label(images: "Sequence[SourceImage]", one_by_one: bool) -> "Generator[pa.Table, None, None]":
        spread = replace(scale, batch=1, block=1) if one_by_one else scale
        return tables(labelled(images, labelling, side, settings.max_image_pixels, spread))

    return label


@contextmanager
def shown(console: Console) -> Iterator[Callable[[str], None]]:
    """Shows a text: at once on a terminal, else one each LINE_S."""
    with progress(console, "listing what is there", every_s=LINE_S) as update:
        yield (lambda text: update(escape(text))) if console.is_terminal else update
