"""What the training commands take: values that are refused in one sentence, before a process is started."""

import argparse
from pathlib import Path

import torch


def device(text: str) -> torch.device:
    """A torch device that this machine has, as "cpu", "cuda" or "cuda:1"; raises ArgumentTypeError."""
    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no device of this machine") from error
    return torch.device(text)


def existing_file(text: str) -> Path:
    """The path of a file that is there; raises ArgumentTypeError."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text} is not a file")
    return path
