"""The models of a comparison: names, checkpoints, or models of a running server."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sam3_engine.errors import CheckpointError
from sam3_engine.hub import resolve_checkpoint
from sam3_engine.spec import SPECS
from serve_app.label.labeller import ModelChoice
from serve_app.settings import Settings

MOST = 8
"""Models of one comparison, so that a table has room for them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to compare. label: its name in the results. where: as it was asked for: a model's name, a checkpoint, or
    on a server a model_id; None there is the server's default."""

    label: str
    where: str | None


def candidates(asked: Sequence[str], *, served: bool) -> list[Candidate]:
    """The models that `--model` names, each `WHERE` or `LABEL=WHERE`. served: they are model_ids of a server.

    Raises ValueError for two of one label, for none, and for too many.
    """
    if not asked and served:
        return [Candidate("the server's default", None)]
    if not 1 <= len(asked) <= MOST:
        raise ValueError(f"name 1 to {MOST} models with --model, each a name or a checkpoint")
    found = [_candidate(text, served) for text in asked]
    labels = [one.label for one in found]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"two models are called {label!r}: name them with --model LABEL=CHECKPOINT")
    return found


def _candidate(text: str, served: bool) -> Candidate:
    label, equals, where = text.partition("=")
    named = bool(equals) and not set("/:") & set(label) and not Path(text).exists()
    if not (label and (where or not named)):
        raise ValueError(f"--model {text!r} names no model: write NAME, CHECKPOINT or LABEL=CHECKPOINT")
    if named:
        return Candidate(label, where)
    return Candidate(text if served or text in SPECS else _short(text), text)


def _short(where: str) -> str:
    """The end of a path or URL, which tells most checkpoints apart."""
    parts = where.partition("#")[0].rstrip("/").split("/")
    last = parts[-1]
    return f"{parts[-2]}/{last}" if len(parts) > 1 and last.startswith(("model.", "sam3.", "check")) else last


def choice_of(candidate: Candidate, settings: Settings) -> ModelChoice:
    """The model as the engine loads it, with its files on this machine and found to fit. Values are not read yet.

    Raises CheckpointError.
    """
    from sam3_engine.checkpoint_files.checkpoint import open_checkpoint
    from sam3_engine.checkpoint_files.shapes import closest_model
    from sam3_engine.loading import read_checkpoint

    assert candidate.where is not None
    choice = replace(ModelChoice.of(settings), checkpoint=None, base=None)
    if candidate.where.removesuffix("-random") in SPECS:
        choice = replace(choice, model=candidate.where)
    else:
        try:
            path = resolve_checkpoint(candidate.where)
            base = resolve_checkpoint(settings.base_checkpoint) if settings.base_checkpoint else None
            opened = [open_checkpoint(one) for one in (path, base) if one is not None]
        except CheckpointError as error:
            raise CheckpointError(f"{candidate.label}: {error}") from error
        spec = closest_model(opened)
        choice = replace(choice, model=spec.name, checkpoint=str(path), base=str(base) if base else None)
    if not choice.model.endswith("-random"):
        try:
            read_checkpoint(SPECS[choice.model], choice.checkpoint, choice.base)
        except CheckpointError as error:
            raise CheckpointError(f"{candidate.label}: {error}") from error
    return choice
