"""The options of `sam3-serve evaluate`."""

from dataclasses import dataclass
from pathlib import Path

import click

from serve_app.cli.options import URL, Number, together
from serve_app.label.classes import FLOOR


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of one command, by their names."""

    ground_truth: Path
    images: Path | None
    models: tuple[str, ...]
    prompts: tuple[str, ...]
    threshold: float
    limit: int | None
    url: str | None
    api_key: str | None
    json: Path | None
    plot: Path | None
    force: bool


evaluate_options = together(
    click.option(
        "--ground-truth",
        required=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="COCO file of true masks.",
    ),
    click.option(
        "--images",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder at which its paths start. [default: the file's]",
    ),
    click.option(
        "--model",
        "models",
        multiple=True,
        metavar="MODEL",
        help="A name (tiny, sam3), a checkpoint, or LABEL=CHECKPOINT; with --url a model_id. May be repeated.",
    ),
    click.option(
        "--base-checkpoint", metavar="WHERE", help="Weights that fine-tunes and adapters are laid over."
    ),
    click.option(
        "--prompt",
        "prompts",
        multiple=True,
        metavar="CLASS=WORDS",
        help='Ask for a class by other words: "car=car | van | !toy car". May be repeated.',
    ),
    click.option(
        "--threshold",
        default=0.5,
        show_default=True,
        type=Number(FLOOR, 1),
        help="Least confidence of an object, for all but AP.",
    ),
    click.option("--limit", type=click.IntRange(1), help="Only the first so many images."),
    click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N."),
    click.option("--url", type=URL, help="A running server whose models are asked, in place of models here."),
    click.option("--api-key", envvar="SAM3_API_KEY", help="Its key; SAM3_API_KEY keeps it out of sight."),
    click.option("--json", type=click.Path(path_type=Path), help="Write all figures here."),
    click.option("--plot", type=click.Path(path_type=Path), help="Write bars here: .html or .svg."),
    click.option("--force", is_flag=True, help="Overwrite files that exist."),
)
"""The options of the command."""
