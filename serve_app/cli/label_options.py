"""The options of `sam3-serve label`."""

from dataclasses import dataclass
from pathlib import Path

import click

from serve_app.cli.options import URL, Folder, Number, at_home, together

FORMATS = (
    "coco",
    "coco-polygons",
    "yolo-seg",
    "yolo-detect",
    "voc",
    "labelme",
    "label-studio",
    "cvat",
    "masks",
)
"""The formats of `serve_app.label.formats`, which needs more to be imported than the help does."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The options and sources of one command, by their names."""

    sources: tuple[str, ...]
    output: Path
    root: str | None
    classes: Path | None
    lines: tuple[str, ...]
    threshold: float
    formats: tuple[str, ...]
    nms: float
    smallest: int
    val: float
    test: float
    split_by_folder: bool
    copy_images: bool
    limit: int | None
    sample: int | None
    dry_run: bool
    restart: bool
    batch: int
    actors: int | None
    address: str | None
    calibrate: Path | None
    url: str | None
    api_key: str | None
    served: str | None = None
    """The model of the server at `url`; None: its default."""


label_options = together(
    click.argument("sources", nargs=-1, metavar="SOURCE...", type=at_home),
    click.option("-o", "--output", required=True, type=Folder(), metavar="FOLDER"),
    click.option(
        "--root",
        type=at_home,
        metavar="PLACE",
        help="Folder or URL at which the paths of lists start. [default: the list's folder]",
    ),
    click.option(
        "--classes",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File of classes, one a line.",
    ),
    click.option("--class", "lines", multiple=True, metavar="CLASS", help="A class. May be repeated."),
    click.option("--threshold", default=0.5, show_default=True, type=Number(0, 1), help="Least confidence."),
    click.option(
        "--format",
        "formats",
        multiple=True,
        default=["coco"],
        show_default=True,
        type=click.Choice(FORMATS),
        help="Format to write. May be repeated.",
    ),
    click.option(
        "--nms",
        default=0.7,
        show_default=True,
        type=Number(0, 1),
        help="Of objects that overlap by more than this IoU, keep one. 1: keep all.",
    ),
    click.option(
        "--smallest", default=0, show_default=True, type=click.IntRange(0), help="Least area, in pixels."
    ),
    click.option("--val", default=0.1, show_default=True, type=Number(0, 1), help="Share for validation."),
    click.option("--test", default=0.0, show_default=True, type=Number(0, 1), help="Share for testing."),
    click.option("--split-by-folder", is_flag=True, help="Keep the images of a folder in one split."),
    click.option(
        "--copy-images", is_flag=True, help="Put copies of images beside labels, in place of links."
    ),
    click.option("--limit", type=click.IntRange(1), help="Label only the first so many images."),
    click.option(
        "--sample",
        type=click.IntRange(1),
        help="Label only so many images from anywhere, with --limit: of those.",
    ),
    click.option(
        "--calibrate",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Instead of labelling, find each class's best threshold by this COCO file of true labels.",
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be done."),
    click.option("--restart", is_flag=True, help="Remove the labels that are there, and begin again."),
    click.option(
        "--model", metavar="NAME", help="tiny (bundled) or sam3 (Meta's); with --url, one of its models."
    ),
    click.option("--checkpoint", metavar="WHERE", help="Weights: a file, its directory, or a URL."),
    click.option(
        "--base-checkpoint", metavar="WHERE", help="Weights that a fine-tune or an adapter is laid over."
    ),
    click.option("--device", metavar="NAME", help="auto, cpu or cuda."),
    click.option(
        "--batch", default=8, show_default=True, type=click.IntRange(1, 256), help="Images at once."
    ),
    click.option(
        "--actors", type=click.IntRange(1), help="Most models at once. [default: one for each GPU, else one]"
    ),
    click.option(
        "--url", type=URL, help="A running server that finds the objects, in place of a model here."
    ),
    click.option("--api-key", envvar="SAM3_API_KEY", help="Its key; SAM3_API_KEY keeps it out of sight."),
    click.option("--address", metavar="ADDRESS", help="A Ray cluster, or auto. [default: one of its own]"),
)
"""The options of the command, and its sources."""
