"""`sam3-serve inspect`: the kind of a checkpoint, and a check that it would load."""

import json
from typing import Any

import click

from sam3_engine.checkpoint_files.strangers import some
from sam3_engine.errors import CheckpointError
from sam3_engine.hub import resolve_checkpoint
from serve_app.settings import Settings

SHOWN = 10
"""Names of a list that are printed; JSON has all."""


def run(checkpoint: str, settings: Settings, as_json: bool, digests: bool) -> bool:
    """Print the findings; returns whether the checkpoint would load. Raises click.ClickException."""
    from sam3_engine.checkpoint_files.inspect import inspect

    try:
        base = settings.base_checkpoint
        found = inspect(
            resolve_checkpoint(checkpoint), resolve_checkpoint(base) if base else None, digests=digests
        )
    except CheckpointError as error:
        raise click.ClickException(str(error)) from error
    document = found.document()
    click.echo(json.dumps(document, indent=2) if as_json else "\n".join(_lines(document)))
    return found.loads


def _lines(found: dict[str, Any]) -> list[str]:
    rows = [
        ("file", found["path"]),
        ("format", f"{found['format']} ({found['container']})" if found["format"] else "not recognised"),
        ("size", f"{found['bytes']:,} bytes"),
        ("model", found["model"]),
        ("dtype", ", ".join(f"{dtype} ({count})" for dtype, count in found["dtypes"].items())),
        *[("sha256", f"{digest}  {name}") for name, digest in found["sha256"].items()],
    ]
    rows += [
        (
            "part",
            f"{name}: {part['tensors']} tensors, {part['parameters']:,} parameters"
            + (f", {part['digest']}" if part["digest"] else ""),
        )
        for name, part in found["parts"].items()
    ]
    rows += [("beside", some(found["beside"], SHOWN))]
    rows += [("video", f"{found['video']} more tensors for video, not used")] if found["video"] else []
    rows += [
        (
            name,
            f"{len(found[name])}: {some(found[name], SHOWN)}",
        )
        for name in ("inherited", "missing", "superfluous")
        if found[name]
    ]
    rows += [("loads", "yes" if found["loads"] else f"no: {found['error']}")]
    return [f"{name:12}{value}" for name, value in rows if value]
