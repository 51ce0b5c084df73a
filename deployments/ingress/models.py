"""The models of one application, as the ingress reaches them. No torch, no Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from deployments.config import ModelName
from deployments.ingress.backends import DecoderClient

State = Literal["ready", "asleep", "loading"]


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """The way to one model. decoder, encoder: its deployments' names. needed: the service counts as ready only with it.
    may_sleep: all of its replicas may be stopped while nobody asks for it."""

    model: ModelName
    decoder: str
    encoder: str
    needed: bool = True
    may_sleep: bool = False


@dataclass(frozen=True, slots=True)
class Models:
    """The clients of all models' decoders by name. default: the model that answers where no other is named. sources:
    the models as decoders know them. needed: the service counts as ready only with these."""

    decoders: Mapping[str, DecoderClient]
    default: str
    sources: Mapping[str, ModelName]
    needed: tuple[str, ...]

    @classmethod
    def one(cls, name: str, decoder: DecoderClient) -> "Models":
        """A single model, whose decoders answer for any."""
        return cls({name: decoder}, name, {}, (name,))


def models_of(routes: Sequence[ModelRoute], decoders: Mapping[str, DecoderClient]) -> Models:
    """The models behind these decoders. The first route is the default's."""
    return Models(
        decoders,
        routes[0].model[0],
        {route.model[0]: route.model for route in routes},
        tuple(route.model[0] for route in routes if route.needed),
    )
