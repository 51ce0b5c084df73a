"""`sam3-serve label`: labels the images of sources, and tells what became of them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from serve_app.cli.extras import not_installed
from serve_app.cli.label_calibration import calibrate
from serve_app.cli.label_model import labeller, labelling_of, shown
from serve_app.cli.label_options import Asked
from serve_app.cli.ray_head import RayNotStarted
from serve_app.cli.stop_signal import StopSignal
from serve_app.settings import Settings

if TYPE_CHECKING:
    from deployments.observe.metrics import Metrics
    from serve_app.label.labelling import Labelling
    from serve_app.label.sources import Listing


def run(settings: Settings, asked: Asked) -> None:
    """Label the sources. Raises click.ClickException; the images labelled by then stay labelled."""
    try:
        from serve_app.label.dataset import BrokenDataset, DatasetInUse, OtherLabels
        from serve_app.label.lists import NoImages
        from serve_app.label.reasons import told
        from serve_app.label.run import NothingLabelled
        from serve_app.label.service import ServiceLost
    except ImportError as error:
        raise not_installed("label", error) from error
    try:
        if asked.calibrate:
            if asked.sources:
                message = "--calibrate reads the images of its file: SOURCE has no part in it"
                raise click.UsageError(message)
            calibrate(settings, asked, asked.calibrate)
        else:
            _make(settings, asked)
    except (
        BrokenDataset,
        DatasetInUse,
        OtherLabels,
        NoImages,
        NothingLabelled,
        ServiceLost,
        RayNotStarted,
        OSError,
    ) as error:
        raise click.ClickException(told(error)) from error


def _make(settings: Settings, asked: Asked) -> None:
    from serve_app.label.choosing import Split, chosen
    from serve_app.label.dataset import Dataset
    from serve_app.label.run import Results, Run
    from serve_app.label.sources import list_images

    if not asked.sources:
        raise click.UsageError("Missing argument 'SOURCE...'.")
    output = asked.output
    labelling = labelling_of(settings, asked)
    try:
        split = Split(asked.val, asked.test, asked.split_by_folder)
        results = Results(asked.formats, split, not asked.copy_images)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    listing = list_images(asked.sources, output, asked.root)
    _refuse_others(output, asked.formats)
    listing.images = chosen(listing.images, asked.limit, asked.sample)
    if asked.dry_run:
        _foretell(listing, labelling, output, asked.restart)
        return
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with Dataset.open(output) as dataset:
        if asked.restart:
            dataset.clear()
        run = Run(dataset, labelling, listing, _command())
        if run.done:
            console.print(f"{run.done} of {len(listing.images)} images are labelled already")
        with shown(console) as show:
            complete = True
            if run.left:
                stop = StopSignal()
                with labeller(settings, asked, labelling, stop, show) as label:
                    complete = run.label(label, stop, show, _metrics(asked))
            manifest = run.finish(complete, results, show)
    _tell(console, manifest, output)
    if not complete:
        raise click.ClickException("stopped. The same command goes on from here.")


def _refuse_others(output: Path, formats: Sequence[str]) -> None:
    """Raises click.ClickException for folders of somebody else's, whose place formats would take."""
    from serve_app.label.dataset import Dataset

    if not Dataset(output).begun:
        for name in formats:
            if (output / name).exists():
                raise click.ClickException(
                    f"{output / name} is there already, and no data set is in {output}: choose another output folder"
                )


def _metrics(asked: Asked) -> "Metrics | None":
    """Ray's, on a cluster that a Prometheus may watch."""
    if not asked.address:
        return None
    from deployments.observe.report import ServeMetrics

    return ServeMetrics()


def _command() -> list[str]:
    """The command line as typed, without secrets."""
    typed = [Path(sys.argv[0]).name, *sys.argv[1:]]
    for place, word in enumerate(typed):
        if word == "--api-key":
            typed[place + 1 : place + 2] = ["..."]
        elif word.startswith("--api-key="):
            typed[place] = "--api-key=..."
    return typed


def _foretell(listing: "Listing", labelling: "Labelling", output: Path, restart: bool) -> None:
    """Print the images, classes and output folder of a run, and run nothing."""
    from serve_app.label.dataset import Dataset
    from serve_app.label.labeller import prompts_of
    from serve_app.label.run import Run
    from serve_app.label.tally import counted

    images, classes = len(listing.images), len(labelling.classes)
    phrases = counted(len(prompts_of(labelling.classes)), "phrase")
    click.echo(f"{counted(images, 'image')}; {counted(classes, 'class', 'classes')}, {phrases}")
    for one in labelling.classes:
        asked = " | ".join([*one.phrases, *(f"!{text}" for text in one.negatives)])
        click.echo(f"  {one.name}: {asked} @{one.threshold:g}")
    for location, error in listing.refused.items():
        click.echo(f"{location} would be left out: {error}")
    if output.exists() and not restart:
        run = Run(Dataset(output), labelling, listing, [])
        click.echo(f"{run.done} of {images} are labelled already; {len(run.left)} are left")
    click.echo(f"labels would go to {output}")


def _tell(console: Console, manifest: dict[str, Any], output: Path) -> None:
    counts = manifest["counts"]
    console.print(f"{counts['images']} images, {sum(counts['objects'].values())} objects in {output}")
    for name, count in counts["objects"].items():
        console.print(f"  {name}: {count}")
    if counts["errors"]:
        console.print(f"{counts['errors']} images could not be read: see {output / 'errors.jsonl'}")
