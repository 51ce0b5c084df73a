"""Messages between ingress, decoder, pool and encoder. No torch, no Ray.

Pixels and embeddings are sent as references. A list around the reference makes Ray pass the reference itself, not its
value. A message that holds a reference may only be an argument or a result of an actor's task: see
`deployments.ray.calls.call`.
"""

from dataclasses import dataclass, field
from typing import Any

from deployments.config import ENCODER, ModelName
from deployments.keys import ImageKey
from deployments.protocol import CacheTier, PromptRequest
from sam3_engine.types import ImageSize


@dataclass(frozen=True, slots=True)
class Warm:
    """A compact embedding in the object store."""

    reference: list[Any]
    """One ObjectRef to a `sam3_engine.embedding.Embedding`, nested."""
    size: ImageSize
    """Size of the upright original image."""
    generation: int
    """Number of the encode that made it. A report of its loss carries this number, and so cannot drop a newer one."""
    born: int
    """A stamp of the store's clock, no later than its image became known: see `deployments.store.deletions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _EncoderInput:
    """The fields that both forms of an encoder's input have: a square of pixels, and a source file."""

    model: str
    """The model that the embedding is for: the model part of its key."""
    size: ImageSize
    """Size of the upright original image."""
    deadline: float | None = None
    """`time.time()` after which nobody needs the embedding."""
    traceparent: str | None = None
    """See `deployments.observe.tracing`."""
    encoder: str = ENCODER
    """The deployment that encodes for this model."""


@dataclass(frozen=True, slots=True)
class Square(_EncoderInput):
    """A decoded image, resized to the model's square, as an encoder needs it."""

    reference: list[Any]
    """One ObjectRef to uint8 [S, S, 3] RGB, nested."""


@dataclass(frozen=True, slots=True)
class Source(_EncoderInput):
    """An image file as it came, kept to encode the image again when its embedding is gone."""

    content: bytes


class PixelsLost(Exception):
    """The pixels cannot be had: their owner has died, or does not answer in time."""


class OtherModel(Exception):
    """The replica has another model than its caller wants: an update is replacing models."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image in the store."""

    digest: str
    size: ImageSize
    source_bytes: int
    """0: its file has left the store."""
    age_s: float
    ids: tuple[str, ...]
    """Ids that its client chose."""


@dataclass(frozen=True, slots=True)
class Ensured:
    """The pool's answer to a new image."""

    warm: Warm
    tier: CacheTier
    """miss: encoded for this caller; joined: another caller's encode; warm: it was in the object store already."""
    encode_s: float
    """Seconds this caller waited for the encoder, its queue included."""


@dataclass(frozen=True, slots=True)
class PromptJob:
    """One request to the decoder. `request` None only makes the image's features hot."""

    tenant: str
    digest: str
    request: PromptRequest[Any] | None
    deadline: float | None = None
    """`time.time()` after which the client no longer waits."""
    warm: Warm | None = None
    """Set when the pool has just ensured the image."""
    model: ModelName | None = None
    """The model that is to answer; None: the decoder's, whichever it is."""
    elsewhere: int = 0
    """Number of decoders to skip: each increment routes the job to another one."""
    traceparent: str | None = None
    """See `deployments.observe.tracing`."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Masks, ready to send."""

    size: ImageSize
    results: bytes
    """The input of `results.load_results`."""
    cache: CacheTier
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NeedImage:
    """The decoder cannot find the image: send it, resized to a square of `image_size` pixels."""

    model: str
    """The model part of the image's key."""
    image_size: int
    encoder: str = ENCODER
    """The deployment that encodes for this model."""

    def key(self, tenant: str, digest: str) -> ImageKey:
        """The key under which the pool ensures the image."""
        return ImageKey(tenant, self.model, digest, self.encoder)


@dataclass(frozen=True, slots=True)
class Expired:
    """The request's deadline passed before the model began with it."""


Reply = Answered | NeedImage | Expired
