"""What the training commands take: values that are refused in one sentence, before a process is started."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch

from sam3_engine.assembly import build_model
from sam3_engine.bundled import load_bundled
from sam3_engine.errors import CheckpointError
from sam3_engine.spec import TINY
from sam3_engine.weights import apply


class Parser(argparse.ArgumentParser):
    """A parser of a module's own words; its help has the defaults."""

    def __init__(self, words: str | None) -> None:
        super().__init__(description=words, formatter_class=_Formatter)


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults where there are any, and a description with its own lines."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return (
            action.help
            if action.default is None or action.default is False
            else super()._get_help_string(action)
        )


def device(text: str) -> torch.device:
    """A torch device that this machine has, as "cpu", "cuda" or "cuda:1"; raises ArgumentTypeError."""
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no device of this machine") from error
    return torch.device(text)


def whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    """Takes whole numbers from `least` to `most`."""

    def taken(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        if number > most:
            raise argparse.ArgumentTypeError(f"{text} is more than {most}")
        return number

    taken.__name__ = "whole number"  # argparse names it where `int` fails
    return taken


def positive(text: str) -> float:
    """A number above zero; raises ArgumentTypeError."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


def share(text: str) -> float:
    """A number from 0 to 1; raises ArgumentTypeError."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return number


def existing_file(text: str) -> Path:
    """The path of a file that is there; raises ArgumentTypeError."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text} is not a file")
    return path


def bundled_file(text: str) -> Path:
    """The path of a file of `bundled.save_bundled` whose weights `tiny` takes; raises ArgumentTypeError."""
    path = existing_file(text)
    try:
        apply(build_model(TINY, video=True), load_bundled(path))
    except CheckpointError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return path


def new_file(text: str) -> Path:
    """A path in a folder that is there: a command that writes it at its end must not fail then."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder, or in none that is there")
    return path


def folder(text: str) -> Path:
    """A folder, or the path of a new one; raises ArgumentTypeError."""
    path = Path(text)
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"{there} is not a folder")
    return path
