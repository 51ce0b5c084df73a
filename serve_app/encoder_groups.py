"""Which models share an image encoder: models whose weights that encode are equal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam3_engine.encoder_digests import encoder_digests
from sam3_engine.errors import CheckpointError
from serve_app.models import ServedModel

Read = Callable[[Sequence[ServedModel]], Mapping[str, str | None]]
"""Digests of models' weights that encode, by the models' names; None for weights that are not on this machine."""


class WrongTrunk(ValueError):
    """A model of `SAM3_MODELS` cannot be read, or has another image encoder than the file says."""


@dataclass(frozen=True, slots=True)
class EncoderGroup:
    """Models that share one deployment of encoders, which loads the first one's weights. digest: of the weights that
    encode; None where the process that deploys cannot read them."""

    members: tuple[ServedModel, ...]
    digest: str | None = None

    @property
    def leader(self) -> ServedModel:
        """The model whose weights the encoders load."""
        return self.members[0]

    def claims(self, model: ServedModel) -> bool:
        """True for a member of which only the file says that it encodes like the leader."""
        return self.digest is None and model.weights != self.leader.weights


def encoder_groups(models: Sequence[ServedModel], read: Read | None = None) -> list[EncoderGroup]:
    """The groups, in the order of their first models; one model alone is not read. read: gives digests; None:
    `readable_digests`. Raises WrongTrunk."""
    if len(models) == 1:
        return [EncoderGroup(tuple(models))]
    known = (read or readable_digests)(models)
    named = {model.name: model for model in models}
    groups: dict[tuple[str, ...], list[ServedModel]] = {}
    for model in models:
        other = named[model.trunk] if model.trunk else model
        own, its = known[model.name], known[other.name]
        if own and its and own != its:
            raise WrongTrunk(
                f"SAM3_MODELS: model {model.name!r}, trunk: {other.name!r} has another image encoder"
            )
        key = (model.architecture, its) if its else ("", *map(str, other.weights))
        groups.setdefault(key, []).append(model)
    # A member that only claims to encode alike does not lead.
    ordered = [sorted(members, key=lambda model: model.trunk is not None) for members in groups.values()]
    return [EncoderGroup(tuple(members), known[members[0].name]) for members in ordered]


def readable_digests(models: Sequence[ServedModel]) -> dict[str, str | None]:
    """The digests of models' weights that encode. Raises WrongTrunk for weights that cannot be loaded."""
    here = [model for model in models if _is_here(model)]
    found = encoder_digests([model.weights for model in here])
    digests: dict[str, str | None] = {
        model.name: "random" if model.architecture.endswith("-random") else None for model in models
    }
    for model, digest in zip(here, found, strict=True):
        if isinstance(digest, CheckpointError):
            raise WrongTrunk(f"SAM3_MODELS: model {model.name!r}: {digest}") from digest
        digests[model.name] = digest
    return digests


def _is_here(model: ServedModel) -> bool:
    """True for weights that may be on this machine: bundled ones, files, and the Hub's, which may be cached."""
    if model.architecture.endswith("-random"):
        return False
    named = [path for path in (model.checkpoint, model.base) if path]
    return all(path.startswith("hf:/") or Path(path).expanduser().exists() for path in named)
