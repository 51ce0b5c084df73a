"""`sam3-serve`: the commands and their options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from serve_app.cli import evaluate_options
from serve_app.cli.coordinates import BOX, POINT
from serve_app.cli.keys import keys
from serve_app.cli.label_options import Asked, label_options
from serve_app.cli.options import URL, Number, together
from serve_app.cli.screen import Commands
from serve_app.settings import Settings, environment_name, unknown_variables

TRACK_FORMATS = ("coco", "mot", "masks")
"""As in `serve_app.track.formats`, which needs more to be imported than the help does."""

OTHER_VARIABLES = ("SAM3_API_KEY", "SAM3_WEIGHTS", "SAM3_CONTRACT_URL")
"""Variables of the project that are no settings: of `segment`, of the pods, and of the contract's tests."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sam3-serve", message="%(prog)s %(version)s")
def main() -> None:
    """Meta's SAM 3 as a server with the routes of Roboflow's SAM 3 API.

    Every setting is an environment variable (see `sam3-serve config`); the options of the commands take
    precedence over them.
    """


def load_settings(**options: Any) -> Settings:
    """Settings from the given options and the environment. Raises click.UsageError.

    Tells of variables that set nothing: an error where one is a mistyped setting, else a note.
    """
    for name, nearest in unknown_variables(OTHER_VARIABLES).items():
        if nearest:
            raise click.UsageError(f"{name} is not a setting. Did you mean {nearest}?")
        click.echo(f"note: {name} is not a setting and has no effect", err=True)
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        lines = [f"{_source(problem, options)}: {problem['msg']}" for problem in error.errors()]
        raise click.UsageError("the settings are not valid\n  " + "\n  ".join(lines)) from None


def _source(problem: ErrorDetails, options: Mapping[str, Any]) -> str:
    """The option or variable that set a wrong value."""
    name = str(problem["loc"][0])
    return "--" + name.replace("_", "-") if options.get(name) is not None else environment_name(name)


server_options = together(
    click.option(
        "--profile", help="laptop, serverless, always-hot or gpu-node: a set of defaults.", metavar="NAME"
    ),
    click.option("--model", help="tiny (bundled, knows coloured shapes) or sam3 (Meta's).", metavar="NAME"),
    click.option(
        "--checkpoint", help="Weights: a file, its directory, hf://owner/name or a URL.", metavar="WHERE"
    ),
    click.option(
        "--base-checkpoint", help="Weights that a fine-tune or an adapter is laid over.", metavar="WHERE"
    ),
    click.option("--device", help="auto, cpu or cuda.", metavar="NAME"),
    click.option("--host", help="Address to listen on (127.0.0.1).", metavar="ADDRESS"),
    click.option("--port", help="Port to listen on (9001).", type=int),
    click.option("--allow-open", help="Allow a public address without API keys.", is_flag=True, default=None),
)
"""An option for each of the most used settings."""


@main.command()
@server_options
def up(**options: Any) -> None:
    """Start the server in the foreground.

    Starts a Ray cluster of its own on loopback, loads the model, and prints an example. Ctrl-C stops all that
    it started, and nothing else.
    """
    settings = load_settings(**options)
    from serve_app.cli.up import run

    run(settings)


@main.command()
@server_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config(as_json: bool, **options: Any) -> None:
    """Show every setting, its value and the value's source.

    With the options of `sam3-serve up`, shows the settings of that command. Secrets are not shown.
    """
    settings = load_settings(**options)
    from serve_app.cli.config import show

    show(settings, [name for name, value in options.items() if value is not None], as_json)


@main.command()
@click.argument("checkpoint", metavar="FILE")
@click.option(
    "--base-checkpoint", help="Weights that it is laid over. [default: official ones]", metavar="WHERE"
)
@click.option("--no-digests", is_flag=True, help="Do not read all values, which takes seconds a gigabyte.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def inspect(
    context: click.Context, checkpoint: str, base_checkpoint: str | None, no_digests: bool, as_json: bool
) -> None:
    """Show a checkpoint's format and parts, and check that it would load.

    FILE is named like SAM3_CHECKPOINT: a file, its directory, hf://owner/name or a URL. Exits with 1 where it
    would not load. No code in a file is ever run.
    """
    settings = load_settings(base_checkpoint=base_checkpoint)
    from serve_app.cli.inspect import run

    context.exit(0 if run(checkpoint, settings, as_json, digests=not no_digests) else 1)


@main.command()
@click.option("--url", type=URL, help="The server. [default: where `sam3-serve up` listens]")
@click.option("--every", "every_s", default=2.0, show_default=True, type=Number(0.1, 86400), help="Seconds.")
@click.option("--once", is_flag=True, help="Print the figures once and exit; the default without a terminal.")
def top(url: str | None, every_s: float, once: bool) -> None:
    """Watch a running server: requests, latency, replicas, queues, cache.

    Only reads the server's GET /metrics. Ctrl-C ends it.
    """
    from serve_app.cli.addresses import url_of
    from serve_app.cli.top import run

    settings = load_settings()
    run(url or url_of(settings.host, settings.port), every_s, once)


@main.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--text", multiple=True, metavar="PHRASE", help="Find every instance of this. May be repeated.")
@click.option("--like", multiple=True, type=BOX, help="Find every object like the one in this box.")
@click.option("--unlike", multiple=True, type=BOX, help="... and not like this one.")
@click.option("--box", type=BOX, help="Find the one object in this box.")
@click.option("--point", multiple=True, type=POINT, help="Find the one object at these points.")
@click.option("--not-point", multiple=True, type=POINT, help="... which is not at these.")
@click.option("--threshold", default=0.5, show_default=True, type=Number(0, 1), help="Least confidence.")
@click.option(
    "-o", "--output", default=Path("overlay.png"), show_default=True, type=click.Path(path_type=Path)
)
@click.option(
    "--masks", type=click.Path(path_type=Path), help="Write the masks here too, as JSON (COCO RLE)."
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option("--url", type=URL, help="The server. [default: where `sam3-serve up` listens]")
@click.option(
    "--api-key", envvar="SAM3_API_KEY", help="The server's key; SAM3_API_KEY keeps it out of sight."
)
@click.option("--local", is_flag=True, help="Load the model in this process; no server is needed.")
@click.option("--model", metavar="NAME", help="One of the server's models; with --local, tiny or sam3.")
@click.option(
    "--checkpoint",
    help="With --local: weights, a file, its directory, hf://owner/name or a URL.",
    metavar="WHERE",
)
@click.option("--base-checkpoint", help="... that a fine-tune or an adapter is laid over.", metavar="WHERE")
@click.option("--device", help="With --local: auto, cpu, cuda or cuda:N.", metavar="NAME")
def segment(
    image: Path,
    output: Path,
    masks: Path | None,
    force: bool,
    url: str | None,
    api_key: str | None,
    local: bool,
    model: str | None,
    checkpoint: str | None,
    base_checkpoint: str | None,
    device: str | None,
    **asked: Any,
) -> None:
    """Find objects in IMAGE and draw them over it.

    Boxes are X0,Y0,X1,Y1 and points are X,Y, in pixels from the top left corner.

    \b
      sam3-serve segment photo.jpg --text "red circle" --text star
      sam3-serve segment photo.jpg --like 40,60,120,140 -o similar.png
      sam3-serve segment photo.jpg --point 200,150 --not-point 240,150 --local
    """
    from serve_app.cli.addresses import url_of
    from serve_app.cli.backends import Local, Server
    from serve_app.cli.question import Question
    from serve_app.cli.segment import run

    here = {"checkpoint": checkpoint, "base_checkpoint": base_checkpoint, "device": device}
    given = ["--" + name.replace("_", "-") for name, value in here.items() if value is not None]
    if given and not local:
        raise click.UsageError(
            f"{', '.join(given)}: a server has its own models; pass --local to load one here"
        )
    settings = load_settings(model=model, **here) if local else load_settings()
    names = {"text": "texts", "point": "points", "not_point": "not_points"}
    question = Question(**{names.get(name, name): value for name, value in asked.items()})
    server = url or url_of(settings.host, settings.port)
    make = (lambda: Local(settings)) if local else (lambda: Server(server, api_key, model))
    run(make, image, question, output, masks, force)


@main.command()
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--text", multiple=True, metavar="PHRASE", help="Follow every instance of this. May be repeated."
)
@click.option("--box", multiple=True, type=BOX, help="Follow the object in this box. May be repeated.")
@click.option("--point", multiple=True, type=POINT, help="Follow the one object at these points.")
@click.option("--not-point", multiple=True, type=POINT, help="... which is not at these.")
@click.option(
    "--frame", default=0, show_default=True, type=click.IntRange(0), help="The frame of boxes and points."
)
@click.option(
    "--every",
    default=10,
    show_default=True,
    type=click.IntRange(0),
    help="Look for --text each so many frames.",
)
@click.option("--threshold", default=0.5, show_default=True, type=Number(0, 1), help="Least confidence.")
@click.option(
    "-o", "--output", default=Path("tracked.mp4"), show_default=True, type=click.Path(path_type=Path)
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(TRACK_FORMATS),
    help="Write this too. May be repeated.",
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option("--restart", is_flag=True, help="Begin again; forget an interrupted run.")
@click.option("--model", help="tiny (bundled) or sam3 (Meta's).", metavar="NAME")
@click.option(
    "--checkpoint", help="Weights: a file, its directory, hf://owner/name or a URL.", metavar="WHERE"
)
@click.option("--device", help="auto, cpu, cuda or cuda:N.", metavar="NAME")
def track(
    video: Path,
    text: tuple[str, ...],
    box: tuple[Any, ...],
    point: tuple[Any, ...],
    not_point: tuple[Any, ...],
    frame: int,
    every: int,
    threshold: float,
    output: Path,
    formats: tuple[str, ...],
    force: bool,
    restart: bool,
    **options: str | None,
) -> None:
    """Follow objects through VIDEO, in this process, and draw them over it.

    Ctrl-C stops it, and the same command goes on. Boxes are X0,Y0,X1,Y1 and points are X,Y, in pixels from the top left
    corner of the upright frame. --every 0 looks for --text in the first frame only.

    \b
      sam3-serve track clip.mp4 --text "red circle" -o out.mp4
      sam3-serve track clip.mp4 --point 200,150 --not-point 240,150 --format coco --format mot
      sam3-serve track clip.mp4 --box 40,60,120,140 --frame 25
    """
    settings = load_settings(**options)
    from serve_app.cli.track import run
    from serve_app.track.asked import asked_for

    try:
        asked = asked_for(text, point, not_point, box, frame, threshold, every)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    run(settings, video, asked, output, formats, force, restart)


@main.command()
@label_options
def label(
    model: str | None, checkpoint: str | None, base_checkpoint: str | None, device: str | None, **asked: Any
) -> None:
    """Make a data set of the images of each SOURCE: a file, a folder, a glob, a list, or a storage's URL.

    Ctrl-C stops it, and the same command goes on. A line of the file of classes is a name, or a name with phrases.

    \b
      sam3-serve label photos/ --class "traffic cone" -o cones
      sam3-serve label photos/ --classes classes.txt --format yolo-seg -o dataset
      sam3-serve label photos/ --classes classes.txt --sample 50 -o look
    """
    served = model if asked["url"] else None
    settings = load_settings(
        model=None if served else model, checkpoint=checkpoint, base_checkpoint=base_checkpoint, device=device
    )
    from serve_app.cli.label import run

    run(settings, Asked(**asked, served=served))


@main.command()
@evaluate_options.evaluate_options
def evaluate(base_checkpoint: str | None, device: str | None, **asked: Any) -> None:
    """Compare models on images whose objects people have marked: AP, F1, cgF1 and presence, class by class.

    The models run in this process, one after the other, or on the server of --url. The names of the file's classes are
    the prompts.

    \b
      sam3-serve evaluate --ground-truth val.json --images photos/ --model sam3 --model mine=checkpoint.pt
      sam3-serve evaluate --ground-truth val.json --model a.pt --model b.pt --json figures.json --plot bars.html
    """
    settings = load_settings(base_checkpoint=base_checkpoint, device=device)
    from serve_app.cli.evaluate import run

    run(settings, evaluate_options.Asked(**asked))


@main.command()
@click.option("--rps", type=Number(0, 1e9, min_open=True), help="Requests per second at the peak.")
@click.option("--images", type=click.IntRange(1), help="Instead of requests: images to label once.")
@click.option("--click-share", default=0.5, show_default=True, type=Number(0, 1), help="Share of clicks.")
@click.option(
    "--new-share", default=1.0, show_default=True, type=Number(0, 1), help="... of the others: new images."
)
@click.option("--prompts", default=1.0, show_default=True, type=Number(1, 1e6), help="Concepts a request.")
@click.option(
    "--keep-minutes",
    default=10.0,
    show_default=True,
    type=Number(0, 1e6),
    help="Minutes that an image is in use.",
)
@click.option("--hardware", default="h200", show_default=True, metavar="NAME", help="h200, h100 or tiny-cpu.")
@click.option(
    "--figures", type=click.Path(exists=True, dir_okay=False), help="Your own measurements, as JSON."
)
@click.option(
    "--cores", type=click.IntRange(1, 100_000), help="Cores of one node, where the model runs on CPUs."
)
@click.option(
    "--gpus",
    default=1,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="GPUs that label the images.",
)
@click.option(
    "--models", default=1, show_default=True, type=click.IntRange(1, 1000), help="Models awake at once."
)
@click.option(
    "--trunks",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="... image encoders of theirs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(
    rps: float | None,
    images: int | None,
    click_share: float,
    new_share: float,
    prompts: float,
    keep_minutes: float,
    hardware: str,
    figures: str | None,
    cores: int | None,
    gpus: int,
    models: int,
    trunks: int,
    as_json: bool,
) -> None:
    """Compute replicas, GPUs and memory for a load, or the time that labelling images takes.

    \b
      sam3-serve plan --rps 100 --click-share 0.8
      sam3-serve plan --rps 20 --click-share 0.5 --hardware tiny-cpu --cores 8
      sam3-serve plan --rps 100 --models 5 --trunks 2
      sam3-serve plan --images 2000000 --prompts 12 --gpus 32 --hardware h100
    """
    from serve_app.capacity import Demand
    from serve_app.cli.plan import chosen, run, run_labelling
    from serve_app.forecast import Images

    costs = chosen(hardware, figures)
    if (rps is None) == (images is None):
        raise click.UsageError("pass either --rps, for a service, or --images, to label")
    if images is not None:
        devices = gpus if costs.device == "gpu" else cores or 1
        run_labelling(costs, Images(images, round(prompts)), devices, as_json)
        return
    assert rps is not None
    run(
        costs, Demand(rps, click_share, new_share, prompts, keep_minutes * 60), cores, as_json, models, trunks
    )


@main.command()
@click.option(
    "--seconds", default=120.0, show_default=True, type=Number(1, 86400), help="Seconds to wait at most."
)
@click.option("--node", metavar="ID", help="A node's hexadecimal id. [default: the node this runs on]")
def drain(seconds: float, node: str | None) -> None:
    """Move the replicas of a Ray node to other nodes, before it is stopped.

    For the preStop hook of pods. Exits with 1 when a replica is left after that time.
    """
    from serve_app.cli.drain_node import DrainRefused
    from serve_app.cli.drain_node import drain as run

    try:
        done = run(node, seconds)
    except (DrainRefused, ConnectionError) as error:
        raise click.ClickException(f"the node was not drained: {error}") from error
    if not done:
        raise click.ClickException(f"the node still serves after {seconds:g} s")


main.add_command(keys)
