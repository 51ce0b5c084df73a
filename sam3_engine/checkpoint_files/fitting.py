"""Fits a checkpoint to a model: sorts the weights into the file's, those of the base below it, and missing ones."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sam3_engine.checkpoint_files.adapters import unmatched
from sam3_engine.checkpoint_files.checkpoint import Checkpoint
from sam3_engine.checkpoint_files.names import PARTS, part_of, used
from sam3_engine.checkpoint_files.strangers import some
from sam3_engine.checkpoint_files.tensors import FLOATS, FileTensor, Tensors, Values
from sam3_engine.errors import WrongCheckpoint

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of a model's weights by official name."""


@dataclass(frozen=True, slots=True)
class Weights:
    """All weights that a model wants, by official name, and where they come from.

    own: names from the checkpoint. inherited: names from the base. absent: names that no file has and no request uses;
    their values are zeros. superfluous: names of the checkpoint that the model does not want.
    """

    tensors: Tensors
    own: tuple[str, ...]
    inherited: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    superfluous: tuple[str, ...] = ()

    def values(self) -> Values:
        """The weights by official name, each read when it is asked for."""
        return Values(self.tensors)

    def __str__(self) -> str:
        said = f"{len(self.own)} tensors of the checkpoint"
        if self.inherited:
            said += f", {len(self.inherited)} of the base ({_parts(self.inherited)})"
        return said


def fit(
    checkpoint: Checkpoint,
    wanted: Shapes,
    base: Callable[[], Checkpoint] | None = None,
    *,
    whole_parts: bool = False,
) -> Weights:
    """Fit a checkpoint to the weights that a model wants.

    wanted: the shapes of all of a model's weights. base: opens the checkpoint that this one is laid
    over; called only where this one does not have everything. None: there is no base. whole_parts: of a part of the
    model that the checkpoint has something of, it must have everything; for a base that nobody chose.
    Raises WrongCheckpoint: nothing fits, or less than the checkpoint has besides; weights are missing and there is no
    base; shapes or number formats differ.
    """
    below: Tensors | None = None
    unknown: list[str] = list(checkpoint.unknown)
    given = checkpoint.tensors
    if checkpoint.adapter is not None:
        if base is None:
            raise WrongCheckpoint(
                f"{checkpoint.path} is an adapter: name the weights that it was trained over"
            )
        below = base().tensors
        given, unknown = checkpoint.adapter.over(below)
        if not given:
            raise WrongCheckpoint(unmatched(checkpoint.adapter, unknown))
    own = {name: given[name] for name in wanted if name in given}
    if not any(used(name) for name in own):  # else the base alone would answer, under this checkpoint's name
        raise WrongCheckpoint(
            f"nothing in {checkpoint.path} fits the model: it has {some(list(given))}, the model {some(list(wanted))}"
        )
    strange = [*unknown, *(name for name in given if name not in wanted and part_of(name) != "video")]
    if len(strange) > len(own):
        raise WrongCheckpoint(
            f"{checkpoint.path} is the file of another model: SAM 3 has {len(own)} of its tensors, and lacks "
            f"{len(strange)}, such as {some(strange)}"
        )
    lacking = [name for name in wanted if name not in own]
    needed = [name for name in lacking if used(name)]
    if whole_parts and checkpoint.adapter is None:
        begun = {part_of(name) for name in own}
        torn = [name for name in needed if part_of(name) in begun]
        if torn:
            raise WrongCheckpoint(_lacks(checkpoint, wanted, torn))
    if needed and below is None:
        if base is None:
            raise WrongCheckpoint(_lacks(checkpoint, wanted, needed))
        below = base().tensors
    inherited = {name: below[name] for name in lacking if below is not None and name in below}
    missing = [name for name in needed if name not in inherited]
    if missing:
        raise WrongCheckpoint(_lacks(checkpoint, wanted, missing) + " Neither does the base.")
    _check(checkpoint, own, wanted)
    _check(checkpoint, inherited, wanted)
    absent = [name for name in lacking if name not in inherited]
    zeros = {name: FileTensor.zeros(wanted[name]) for name in absent}
    return Weights(own | inherited | zeros, tuple(own), tuple(inherited), tuple(absent), tuple(strange))


def _parts(names: Collection[str]) -> str:
    found = {part_of(name) for name in names if used(name)}
    return ", ".join(part for part in (*PARTS, "other") if part in found)


def _lacks(checkpoint: Checkpoint, wanted: Shapes, missing: list[str]) -> str:
    return (
        f"{checkpoint.path} lacks {len(missing)} of the model's {len(wanted)} tensors ({_parts(missing)}): "
        f"{some(missing)}. "
        "Is it the file of another model? Or else name the base that it is laid over (SAM3_BASE_CHECKPOINT)."
    )


def _check(checkpoint: Checkpoint, given: Tensors, wanted: Shapes) -> None:
    differing = [
        f"{name} is {list(tensor.shape)} instead of {list(wanted[name])}"
        for name, tensor in given.items()
        if tensor.shape != tuple(wanted[name])
    ]
    if differing:
        raise WrongCheckpoint(
            f"{len(differing)} tensors of {checkpoint.path} have another shape: {some(differing)}. "
            "Is it the file of a model of another size?"
        )
    odd = [f"{name} is {tensor.dtype}" for name, tensor in given.items() if tensor.dtype not in FLOATS]
    if odd:
        raise WrongCheckpoint(
            f"{checkpoint.path} is quantised ({some(odd)}): only float32, float16 and bfloat16 weights are loaded"
        )
