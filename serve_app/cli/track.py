"""`sam3-serve track`: follows objects through a video, and writes a film and files of what was found."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from sam3_engine.errors import EngineError
from serve_app.cli.local_engine import local_engine
from serve_app.cli.outputs import refuse_unwritable, write
from serve_app.cli.progress import Progress, progress
from serve_app.cli.stop_signal import StopSignal
from serve_app.settings import Settings
from serve_app.track.asked import Asked

if TYPE_CHECKING:
    from sam3_engine.engine import Engine
    from sam3_engine.video_files.reading import Video
    from serve_app.track.journal import Journal

LINE_S = 10.0
"""Seconds between the lines of a log, where there is no terminal."""
SAMPLED = 1 << 20
"""Bytes at a file's beginning, and at its end, that tell it from others."""


@dataclass(slots=True)
class Watch:
    """Shows where a run is, and tells it whether to go on."""

    show: Progress
    stop: StopSignal

    def __call__(self, text: str) -> bool:
        """Show a text. False once a signal has come."""
        self.show(text)
        return not self.stop


def run(
    settings: Settings,
    video: Path,
    asked: Asked,
    output: Path,
    formats: Sequence[str],
    force: bool,
    restart: bool,
) -> None:
    """Track the video. Raises click.ClickException; where it was interrupted, the same command goes on."""
    from sam3_engine.video_files.reading import open_video
    from serve_app.track.formats import WRITERS
    from serve_app.track.journal import Journal, JournalInUse, OtherRun

    if output.suffix.lower() != ".mp4":
        raise click.BadParameter(f"{output} does not end in .mp4", param_hint="-o")
    files = {output.with_suffix(WRITERS[name][0]): WRITERS[name][1] for name in dict.fromkeys(formats)}
    work = output.with_name(f".{output.name}.tracking")
    for path in (output, *files):
        _refuse(path, force or work.exists(), video)  # what an interrupted run has written is its own
    console, stop = Console(highlight=False, soft_wrap=True, markup=False), StopSignal()
    try:
        with (
            open_video(video) as opened,  # one that cannot be read is refused before the model is loaded
            progress(console, "loading the model", every_s=LINE_S) as show,
            stop.listening(),
        ):
            engine = local_engine(settings, video=True)
            told = {"video": _identity(video), "weights": engine.track_version, **asdict(asked)}
            with Journal(work, told, restart=restart) as journal:
                _make(engine, opened, video, asked, journal, output, Watch(show, stop))
                for path, save in files.items():
                    if path.is_dir():
                        rmtree(path)
                    write(path, partial(save, journal))
                journal.remove()
    except (JournalInUse, OtherRun, EngineError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    for path in (output, *files):
        click.echo(f"written to {path}")


def _make(
    engine: "Engine",
    video: "Video",
    path: Path,
    asked: Asked,
    journal: "Journal",
    output: Path,
    watch: Watch,
) -> None:
    """Track the video of a path, then read it anew and draw the film."""
    from sam3_engine.video_files.reading import open_video
    from serve_app.track.film import write_film
    from serve_app.track.run import track

    whole = f" of {video.info.frames}" if video.info.frames else ""
    if not track(
        engine,
        video,
        asked,
        journal,
        lambda session: watch(f"frame {session.frame + 1}{whole}, {len(session.objects)} objects"),
    ):
        raise _stopped()
    if video.damage:
        click.echo(f"warning: {path}: {video.damage}", err=True)

    def film(made: Path) -> None:
        with open_video(path) as video:
            if not write_film(
                video, journal, made, lambda number: watch(f"drawing frame {number + 1}{whole}")
            ):
                raise _stopped()

    write(output, film)


def _stopped() -> click.ClickException:
    return click.ClickException("stopped. The same command goes on from here.")


def _identity(path: Path) -> dict[str, Any]:
    """What tells a video file from others, without reading all of it."""
    from xxhash import xxh3_64

    size, digest = path.stat().st_size, xxh3_64()
    with path.open("rb") as file:
        digest.update(file.read(SAMPLED))
        file.seek(max(0, size - SAMPLED))
        digest.update(file.read(SAMPLED))
    return {"bytes": size, "digest": digest.hexdigest()}


def _refuse(path: Path, force: bool, video: Path) -> None:
    """Raises click.BadParameter; a folder of masks may be overwritten like a file."""
    if not (path.suffix == ".masks" and path.is_dir()):
        refuse_unwritable(path, "-o", force, [video])
    elif not force:
        raise click.BadParameter(
            f"{path} exists: choose another name, or pass --force to overwrite it", param_hint="-o"
        )
