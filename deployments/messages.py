"""What ingress, decoder, pool and encoder say to each other inside the cluster. No torch, no Ray.

Pixels and embeddings travel as references, wrapped in a list so that Ray hands the reference on instead of fetching
its value for the receiver. What holds one may only be sent as an argument or a result of an actor's task: see
`deployments.ray.router.call`.
"""

from dataclasses import dataclass, field
from typing import Any

from deployments.keys import ImageKey
from deployments.protocol import CacheTier, PromptRequest
from sam3_engine.types import ImageSize


@dataclass(frozen=True, slots=True)
class Warm:
    """A compact embedding in the object store."""

    reference: list[Any]
    """One ObjectRef to a `sam3_engine.embedding.Embedding`, nested."""
    size: ImageSize
    """Of the upright original image."""
    generation: int
    """Which encode made it, so that a report of its loss cannot hit its successor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _EncoderInput:
    """What an encoder is told of an image in either form."""

    model: str
    """What the embedding is for: the model part of its key."""
    size: ImageSize
    """Of the upright original image."""
    deadline: float | None = None
    """`time.time()` after which it need not be encoded."""
    traceparent: str | None = None
    """See `deployments.observe.tracing`."""


@dataclass(frozen=True, slots=True)
class Square(_EncoderInput):
    """A decoded image, resized to the model's square: what an encoder needs."""

    reference: list[Any]
    """One ObjectRef to uint8 [S, S, 3] RGB, nested."""


@dataclass(frozen=True, slots=True)
class Source(_EncoderInput):
    """An image file as it came, kept to encode the image again when its embedding is gone."""

    content: bytes


class PixelsLost(Exception):
    """The pixels cannot be had: their owner has died, or does not answer in time."""


class OtherModel(Exception):
    """The encoders that were asked have another model than the decoder that needs the embedding: they are being
    replaced."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What an id names. `version` grows with each change of the id, so that a late copy of an older one is
    known as such. `received`: when the ingress received the request that made it."""

    digest: str
    version: int
    received: float
    used: float


@dataclass(frozen=True, slots=True)
class NameCopy:
    """An id, for the other shard that holds it."""

    tenant: str
    image_id: str
    binding: Binding


@dataclass(frozen=True, slots=True)
class ImageCopy:
    """A source image, for the other shard that holds it. `received`: see `pool.deletions`."""

    key: ImageKey
    size: ImageSize
    source: bytes
    received: float


@dataclass(frozen=True, slots=True)
class NameQuestion:
    """Which digest an id names; with `digest`, the id is bound to it first. `received`: see `pool.deletions`."""

    tenant: str
    image_id: str
    digest: str | None
    received: float
    lessee: str | None = None
    """Who wants a lease on the answer: see `pool.leases`."""


@dataclass(frozen=True, slots=True)
class Named:
    """The answer. digest: None when the id names nothing."""

    digest: str | None
    lease_s: float = 0.0
    """For how long, from when it was asked, the asker is told before the id names something else."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What one shard holds of an image. Bytes are 0 for what it does not hold."""

    digest: str
    size: ImageSize
    source_bytes: int
    embedding_bytes: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Ensured:
    """The pool's answer to a new image."""

    warm: Warm
    tier: CacheTier
    """miss: encoded for this caller; joined: another caller's encode; warm: it was there already."""
    encode_s: float
    """Seconds this caller waited for the encoder, its queue included."""


@dataclass(frozen=True, slots=True)
class PromptJob:
    """One request as the decoder sees it. `request` None asks to have the image ready, no more."""

    tenant: str
    image_id: str
    digest: str | None
    """Known when the request brought the image."""
    request: PromptRequest[Any] | None
    deadline: float | None = None
    """`time.time()` after which nobody waits."""
    received: float = float("inf")
    """`time.time()` at which the ingress received the request: see `pool.deletions`."""
    warm: Warm | None = None
    """Known when the image was ensured a moment ago."""
    bound: bool = False
    """Whether the pool has bound the id to the digest for this request already."""
    elsewhere: int = 0
    """How many decoders need not be asked again: counted up, the job meets another one."""
    traceparent: str | None = None
    """See `deployments.observe.tracing`."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Masks, ready to send."""

    size: ImageSize
    results: bytes
    """What `results.load_results` reads."""
    cache: CacheTier
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NeedImage:
    """The decoder cannot find the image: send it, resized to a square of `image_size` pixels."""

    model: str
    """The model part of its key."""
    image_size: int

    def key(self, tenant: str, digest: str) -> ImageKey:
        """The key to ensure the image under."""
        return ImageKey(tenant, self.model, digest)


@dataclass(frozen=True, slots=True)
class Expired:
    """The deadline passed before the model got to it."""


Reply = Answered | NeedImage | Expired
