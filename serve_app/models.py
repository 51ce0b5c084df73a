"""The models that a server serves, from its settings: one, or those of `SAM3_MODELS`. No torch, no Ray."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from deployments.config import ModelName
from serve_app.model_file import DEFAULT_MODEL_ID, MODEL_ID, Architecture, default_of
from serve_app.settings import Settings

SLEEP_AFTER_S = 300.0
"""Seconds without a request after which a model without warm replicas sleeps again."""


class MalformedModelId(Exception):
    """The model_id is not of the form `project/version`."""


class UnknownModel(Exception):
    """The server does not serve the model; the message lists the models that it serves."""


class ContradictorySettings(ValueError):
    """Two settings each say which model is served."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model. ids: values of `model_id` that choose it, its name first. sleep_after_s: 0 for a model that never
    sleeps. threshold: the score threshold of requests that name none; None: the route's own."""

    name: str
    ids: tuple[str, ...]
    architecture: Architecture
    checkpoint: str | None
    base: str | None
    replicas: int
    max_replicas: int | None = None
    sleep_after_s: float = 0.0
    threshold: float | None = None
    pinned: bool = False
    trunk: str | None = None

    @property
    def weights(self) -> tuple[str, str | None, str | None]:
        """The source of its weights: models with equal ones are the same."""
        return self.architecture, self.checkpoint, self.base

    @property
    def identity(self) -> ModelName:
        """The model as decoders know it."""
        return self.name, "|".join(part or "" for part in self.weights)


@dataclass(frozen=True)
class Registry:
    """All models, in the file's order, and the default's name.

    alone: the model that the server would have without `SAM3_MODELS`, if it is one of them. Its deployments keep the
    names that they have then, so that a server with one model can become one with several.
    """

    models: tuple[ServedModel, ...]
    default_name: str
    alone: str | None = None

    @cached_property
    def by_id(self) -> Mapping[str, ServedModel]:
        """The models by each of their ids."""
        return {model_id: model for model in self.models for model_id in model.ids}

    @cached_property
    def default(self) -> ServedModel:
        """The model of requests that name none."""
        return self.by_id[self.default_name]

    def find(self, model_id: str | None) -> ServedModel:
        """The model that a request names. Raises MalformedModelId, UnknownModel."""
        found = self.by_id.get(DEFAULT_MODEL_ID if model_id is None else model_id)
        if found is None:
            assert model_id is not None
            if not re.fullmatch(MODEL_ID, model_id):
                raise MalformedModelId("model_id is malformed: it looks like 'sam3/sam3_final'")
            served = ", ".join(model_id for model in self.models for model_id in model.ids)
            raise UnknownModel(f"this server does not serve {model_id!r}: it serves {served}")
        return found

    @classmethod
    def of(cls, settings: Settings) -> "Registry":
        """The models of the settings. Raises ContradictorySettings."""
        if settings.models:
            return _several(settings)
        ids = settings.model_ids
        model = ServedModel(
            ids[0],
            ids if DEFAULT_MODEL_ID in ids else (*ids, DEFAULT_MODEL_ID),
            settings.model,
            settings.checkpoint,
            settings.base_checkpoint,
            settings.decoder_replicas,
            sleep_after_s=settings.scale_to_zero_after_s,
        )
        return cls((model,), model.name, model.name)


def _several(settings: Settings) -> Registry:
    if settings.model_ids != type(settings).model_fields["model_ids"].default:
        raise ContradictorySettings("SAM3_MODEL_IDS is for a server with one model: write `aliases`")
    default = default_of(settings.models)
    models = []
    for name, entry in settings.models.items():
        ids = (name, *entry.aliases)
        if name == default and DEFAULT_MODEL_ID not in ids:
            ids = (*ids, DEFAULT_MODEL_ID)
        own = entry.sleep_after_s or settings.scale_to_zero_after_s
        sleeps = 0.0 if entry.pinned else own or (0.0 if entry.replicas else SLEEP_AFTER_S)
        models.append(
            ServedModel(
                name,
                ids,
                entry.architecture,
                entry.checkpoint,
                entry.base,
                entry.replicas,
                entry.max_replicas,
                sleeps,
                entry.output_prob_thresh,
                entry.pinned,
                entry.trunk,
            )
        )
    weights = settings.model, settings.checkpoint, settings.base_checkpoint
    alone = next((model.name for model in models if model.weights == weights), None)
    if alone is None and (settings.checkpoint or settings.base_checkpoint):
        raise ContradictorySettings(
            "SAM3_MODELS has no model with the weights of SAM3_CHECKPOINT: leave that out"
        )
    return Registry(tuple(models), default, alone)
