"""`sam3-serve label --calibrate`: the threshold of each class, by images that a person has labelled."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from serve_app.cli.label_model import labeller, labelling_of, shown
from serve_app.cli.label_options import Asked
from serve_app.cli.outputs import refuse_unwritable, write
from serve_app.cli.stop_signal import StopSignal
from serve_app.settings import Settings

if TYPE_CHECKING:
    from serve_app.label.labelling import Labelling
    from serve_app.label.truth import Truth

NAME = "classes.txt"
"""The file of the result."""


def calibrate(settings: Settings, asked: Asked, truth: Path) -> None:
    """Print each class's best threshold, and write a file of classes with them.

    Raises NoImages, RayNotStarted, ServiceLost, OSError and click.ClickException.
    """
    from serve_app.label.calibration import choices
    from serve_app.label.classes import FLOOR
    from serve_app.label.lists import none_is_there
    from serve_app.label.truth import read_truth, unfit

    wanted = labelling_of(settings, asked)
    truths = read_truth(truth, [one.name for one in wanted.classes], asked.root)
    none_is_there(str(truth), [one.image for one in truths])
    output = asked.output / NAME
    if asked.dry_run:
        _foretell(wanted, truth, truths, output)
        return
    _refuse_unwritable(output, asked)
    labelling = replace(wanted, classes=[replace(one, threshold=FLOOR) for one in wanted.classes])
    console = Console(highlight=False, soft_wrap=True, markup=False)
    stop = StopSignal()
    rows: list[dict[str, Any]] = []
    with shown(console) as show, labeller(settings, asked, labelling, stop, show) as label:
        for table in label([one.image for one in truths], False):
            rows += table.to_pylist()
            show(f"{len(rows)} of {len(truths)} images")
            if stop:
                raise click.ClickException("stopped")
    found = choices(rows, truths, [one.name for one in wanted.classes])
    lines = []
    for one in wanted.classes:
        choice = found[one.name]
        lines.append(
            replace(one, threshold=round(choice.threshold, 3) if choice.known else one.threshold).line()
        )
        told = f"F1 {choice.f1:.3f}, nine of ten draws in {choice.low:.2f} to {choice.high:.2f}"
        told = told if choice.known else "nothing to choose by: the threshold stays"
        console.print(f"{lines[-1]}  # {told}; {choice.objects} true objects")
    truth_of = {one.image.location: one for one in truths}
    for row in rows:
        if (why := unfit(truth_of[row["location"]], row)) is not None:
            console.print(f"left out: {row['location']}: {why}")
    write(output, lambda path: path.write_text("\n".join([*lines, ""]), encoding="utf-8"))
    console.print(f"written to {output}")


def _foretell(wanted: "Labelling", truth: Path, truths: "Sequence[Truth]", output: Path) -> None:
    """Print the images and classes of a calibration, and start nothing."""
    from serve_app.label.tally import counted

    click.echo(
        f"{counted(len(truths), 'image')} of {truth}; {counted(len(wanted.classes), 'class', 'classes')}"
    )
    for one in wanted.classes:
        objects = sum(len(each.masks[one.name]) for each in truths)
        click.echo(f"  {one.name}: {objects} true objects")
    click.echo(f"thresholds would go to {output}")


def _refuse_unwritable(output: Path, asked: Asked) -> None:
    """Make the folder before any work. Raises OSError, and click.BadParameter for a file that cannot be written or is
    the one that the classes come from."""
    output.parent.mkdir(parents=True, exist_ok=True)
    inputs = [path for path in (asked.classes, asked.calibrate) if path]
    refuse_unwritable(output, "--output", force=True, inputs=inputs)
