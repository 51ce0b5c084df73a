"""Which models share an image encoder: models whose weights that encode are equal."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam3_engine.errors import CheckpointError
from serve_app.models import ServedModel

logger = logging.getLogger(__name__)

Digest = Callable[[ServedModel], str | None]


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


def encoder_groups(models: Sequence[ServedModel], digest: Digest | None = None) -> list[EncoderGroup]:
    """The groups, in the order of their first models; one model alone is not read. digest: of a model's weights that
    encode; None: `readable_digest`. Raises WrongTrunk."""
    if len(models) == 1:
        return [EncoderGroup(tuple(models))]
    read = digest or readable_digest
    known = {model.name: read(model) for model in models}
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


def readable_digest(model: ServedModel) -> str | None:
    """The digest of a model's weights that encode; None where they are not on this machine. Raises WrongTrunk for
    weights that cannot be loaded."""
    if model.architecture.endswith("-random"):
        return "random"
    bundled = model.architecture == "tiny"
    own = (model.checkpoint, *([model.base] if model.base else []))
    if not all((path is None and bundled) or (path and Path(path).expanduser().exists()) for path in own):
        return None
    if not bundled and model.base is None and model.checkpoint is None:
        return None
    from sam3_engine.loading import read_checkpoint
    from sam3_engine.spec import SPECS
    from sam3_engine.weights import encoder_digest

    try:
        return encoder_digest(read_checkpoint(SPECS[model.architecture], model.checkpoint, model.base))
    except CheckpointError as error:
        raise WrongTrunk(f"SAM3_MODELS: model {model.name!r}: {error}") from error
