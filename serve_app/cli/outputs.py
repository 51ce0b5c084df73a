"""Checks the files that a command will write before it does any work, and writes them whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
from PIL import Image


def refuse_unwritable(path: Path, option: str, force: bool, inputs: list[Path]) -> None:
    """Raises click.BadParameter for a path that cannot be written, and for a file that exists without `force`.

    inputs: files that the command reads or writes besides, which must not be the same.
    """

    def refuse(why: str) -> None:
        raise click.BadParameter(why, param_hint=option)

    folder = path.parent
    if path.is_dir():
        refuse(f"{path} is a folder")
    elif not folder.is_dir():
        refuse(f"there is no folder {folder}")
    elif any(path.resolve() == other.resolve() for other in inputs):
        refuse(f"{path} is a file that this command uses already")
    elif path.exists() and not force:
        refuse(f"{path} exists: choose another name, or pass --force to overwrite it")
    elif not os.access(path if path.exists() else folder, os.W_OK) or not os.access(folder, os.W_OK):
        refuse(f"{path} may not be written")


def refuse_unknown_picture(path: Path, option: str) -> None:
    """Raises click.BadParameter for an extension that names no kind of picture."""
    Image.init()
    known = sorted(ending for ending, name in Image.EXTENSION.items() if name in WRITTEN)
    if path.suffix.lower() not in known:
        ending = path.suffix or "no extension"
        raise click.BadParameter(f"{path} has {ending}: use one of {' '.join(known)}", param_hint=option)


WRITTEN = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Have `save` write a file that then takes the place of `path`. Raises OSError, and leaves `path` as it was."""
    with tempfile.TemporaryDirectory(prefix=".sam3-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        save(made)
        made.replace(path)
