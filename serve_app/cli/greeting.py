"""The message of `sam3-serve up` once the server answers."""

import json
from pathlib import Path

from rich.console import Console

from serve_app.cli.addresses import url_of
from serve_app.cli.ray_head import logs_in
from serve_app.model_file import default_of
from serve_app.settings import Settings

EXAMPLE_IMAGE = Path("docs/images/shapes.jpg")
"""An image of the repository, in whose folder the server is usually started."""


def welcome(console: Console, settings: Settings, seconds: float, run_dir: Path) -> None:
    """Print the server's addresses, its model and folder, and a command to try."""
    url = url_of(settings.host, settings.port)
    console.print(f"[bold green]SAM 3 is ready[/] after {seconds:.0f} s (Ctrl-C stops it)\n")
    rows = {
        "url": url,
        "docs": f"{url}/docs",
        "model": model_line(settings),
        "logs": str(logs_in(run_dir)),
    }
    lines = [f"  {name:6} {value}" for name, value in rows.items()]
    # Without wrapping at the terminal's width, so that the command can be copied.
    console.print("\n".join([*lines, "", example(url), ""]), markup=False, soft_wrap=True)


def model_line(settings: Settings) -> str:
    """The model's name and purpose, or the names of several models."""
    if settings.models:
        default = default_of(settings.models)
        return ", ".join(f"{name} (default)" if name == default else name for name in settings.models)
    notes = {
        "tiny": "the bundled demonstration model: it only knows coloured shapes",
        "tiny-random": "untrained, for tests",
        "sam3": settings.checkpoint or "facebook/sam3",
    }
    return f"{settings.model} ({notes[settings.model]})"


def example(url: str) -> str:
    """A curl command that works unchanged: with the repository's image if it exists in this folder."""
    if EXAMPLE_IMAGE.exists():
        request = {"prompts": [{"type": "text", "text": "circle"}]}
        parts = [f"-F image=@{EXAMPLE_IMAGE}", f"-F request='{json.dumps(request)}'"]
    else:
        from serve_app.http.sam3.concept import EXAMPLES  # loads FastAPI, for which a start need not wait

        request = EXAMPLES["text"]["value"]
        parts = ["-H 'Content-Type: application/json'", f"-d '{json.dumps(request)}'"]
    return " \\\n    ".join([f"  curl -sS {url}/sam3/concept_segment", *parts])
