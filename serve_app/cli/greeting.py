"""What `sam3-serve up` says once the server answers."""

import json
from pathlib import Path

from rich.console import Console

from serve_app.cli.addresses import url_of
from serve_app.cli.ray_head import logs_in
from serve_app.http.sam3.concept import EXAMPLES
from serve_app.settings import Settings

EXAMPLE_IMAGE = Path("docs/images/shapes.jpg")
"""Comes with the repository, from whose folder the server is usually started."""


def welcome(console: Console, settings: Settings, seconds: float, run_dir: Path) -> None:
    """Say what runs where, and what to try."""
    url = url_of(settings.host, settings.port)
    console.print(f"[bold green]SAM 3 is ready[/] after {seconds:.0f} s (Ctrl-C stops it)\n")
    rows = {
        "url": url,
        "docs": f"{url}/docs",
        "model": model_line(settings),
        "logs": str(logs_in(run_dir)),
    }
    lines = [f"  {name:6} {value}" for name, value in rows.items()]
    # As it is: no line may break where the terminal ends, for the command is there to be copied.
    console.print("\n".join([*lines, "", example(url), ""]), markup=False, soft_wrap=True)


def model_line(settings: Settings) -> str:
    """The model, and what it is good for."""
    notes = {
        "tiny": "the bundled demonstration model: it only knows coloured shapes",
        "tiny-random": "untrained, for tests",
        "sam3": str(settings.checkpoint or "facebook/sam3"),
    }
    return f"{settings.model} ({notes[settings.model]})"


def example(url: str) -> str:
    """A command that works as it stands: with the repository's image where that is at hand."""
    if EXAMPLE_IMAGE.exists():
        request = {"prompts": [{"type": "text", "text": "circle"}]}
        parts = [f"-F image=@{EXAMPLE_IMAGE}", f"-F request='{json.dumps(request)}'"]
    else:
        request = EXAMPLES["text"]["value"]
        parts = ["-H 'Content-Type: application/json'", f"-d '{json.dumps(request)}'"]
    return " \\\n    ".join([f"  curl -sS {url}/sam3/concept_segment", *parts])
