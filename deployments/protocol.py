"""The interface between the HTTP layer and the deployments. No torch, no Ray, no HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

from sam3_engine.types import ConceptPrompt, ConceptResult, ImageSize, Instance, MaskFormat, VisualPrompt

CacheTier = Literal["hot", "warm", "cold", "miss", "joined"]
Results = TypeVar("Results")


class ImageFile(Protocol):
    """An image that a request brought and nobody has read yet: base64 text, a multipart part or a URL."""

    async def content_digest(self) -> str:
        """Hex digest of the image file's bytes, often known without reading them (cached URLs). Raises as `content`."""
        ...

    async def content(self) -> bytes:
        """The image file's bytes, not decoded. Raises the errors of `serve_app.http.reading`."""
        ...


@dataclass(frozen=True, slots=True)
class ImageReference:
    """The image of a request: its tenant, and its source, its id, or both."""

    tenant: str
    source: ImageFile | None = None
    image_id: str | None = None
    quota: int | None = None
    """Most bytes kept of this tenant in each of the tiers warm and cold; None: the last quota given stays."""


HITS = ("hot", "warm")
"""Cache tiers that need no encode. In the other cases the request encoded the image, or waited for its encode."""


@dataclass(slots=True)
class Timings:
    """Cache tier and seconds of one request. The service fills them; headers, logs and metrics read them."""

    request_id: str
    deadline: float | None = None
    """`time.time()` after which the client no longer waits for the answer."""
    cache: CacheTier | None = None
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by stage: admission, decode, queue, encode, transfer, prompt, post."""
    waited_s: float = 0.0
    """Seconds spent waiting for a free encoder and decoder, and for the encode itself."""

    def add(self, stages: Mapping[str, float]) -> None:
        """Add seconds by stage."""
        for stage, seconds in stages.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + seconds

    def merge(self, parts: Sequence["Timings"]) -> None:
        """Add up the timings of this request's parts. The request counts as a hit only if every part was one."""
        for part in parts:
            self.add(part.stages)
        tiers = [part.cache for part in parts]
        self.cache = next((tier for tier in tiers if tier not in HITS), tiers[0] if tiers else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRequest(Generic[Results]):
    """Base of all requests to the model; `Results` is the type of the answer's results.

    Each subclass has a route in `serve_app.http.sam3` and a handler in `deployments.decoder.prompts.HANDLERS`.
    """

    mask_format: MaskFormat = "polygon"
    as_json: bool = False
    """Return `Instance.masks` as `results.JsonText`, for a caller that only sends the answer on."""


@dataclass(frozen=True, slots=True)
class ConceptRequest(PromptRequest[Sequence[ConceptResult]]):
    """Every instance of each concept: one result per prompt, in prompt order; instances by score, highest first.

    `nms_iou_threshold`: mask IoU beyond which the instance with the lower score is dropped; None keeps all.
    """

    prompts: Sequence[ConceptPrompt]
    nms_iou_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class VisualRequest(PromptRequest[Sequence[Instance]]):
    """One mask per prompt of clicks and a box, in prompt order.

    Each mask carries its `low_res_logits` when `mask_format` is binary. `multimask`: the model proposes three masks
    per prompt, not one; either way the answer holds the best. `save_logits` keeps the low-resolution logits of the
    answer; `load_logits` starts from the kept logits of the earlier prompt that matches best.
    """

    prompts: Sequence[VisualPrompt]
    multimask: bool = True
    save_logits: bool = False
    load_logits: bool = False


@dataclass(frozen=True, slots=True)
class Answer(Generic[Results]):
    """The model's answer about an image. `size`: of the upright original, in pixels."""

    image_id: str
    size: ImageSize
    results: Results


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image that the server keeps, under one of its ids."""

    image_id: str
    size: ImageSize
    source_bytes: int
    """Size of the original image file; 0 when the server no longer keeps the file."""
    embedding_bytes: int
    """Size of the embedding in the object store; 0 when there is none."""
    tier: Literal["hot", "warm", "cold"]
    """The fastest tier that holds the image."""
    age_s: float
    """Seconds since the image was first sent."""
    digest: str = ""
    """Digest of the file's bytes: the same under each of the image's ids."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model's state. ready: a replica answers. asleep: none runs, as nobody asks for it. loading: one starts.
    replicas: decoders that run."""

    state: Literal["ready", "asleep", "loading"]
    replicas: int


class UnknownImage(Exception):
    """The id is not in the cache and the request brought no image."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"image {image_id!r} is not in the cache: send the image again")
        self.image_id = image_id


class Overloaded(Exception):
    """Too many requests are waiting; the client may try again after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float = 1.0) -> None:
        super().__init__("the server is busy: too many requests are waiting")
        self.retry_after_s = retry_after_s


class StoreAway(Overloaded):
    """The store does not answer, or refuses: ids that clients chose and new images have to wait."""

    def __init__(self, message: str = "the store of ids and image files does not answer: try again") -> None:
        Exception.__init__(self, message)
        self.retry_after_s = 1.0


class OtherContent(Exception):
    """The id is that of another content than the image's."""

    def __init__(self) -> None:
        super().__init__(
            "an id that begins with sha256- names the content with that digest, and this image has another"
        )


class DeadlineExceeded(Exception):
    """The request's deadline passed before its answer was ready."""


class Segmenter(Protocol):
    """The service that the HTTP layer calls. `deployments.ingress.service.SegmentationService` implements it."""

    async def answer(
        self,
        image: ImageReference,
        request: PromptRequest[Results] | None,
        timings: Timings,
        model: str | None = None,
    ) -> Answer[Results]:
        """A model's answer about an image. `request` None only encodes the image, for later requests. model: one of
        `models`; None: the default.

        Raises UnknownImage, OtherContent, Overloaded, DeadlineExceeded, and the errors of `ImageFile.content`.
        """
        ...

    async def images(self, tenant: str) -> Sequence[KeptImage]:
        """The tenant's images, newest first. An image with several ids appears once for each id."""
        ...

    async def delete(self, tenant: str, image_id: str) -> None:
        """Delete the image that an id names, in every process and under all of its ids. Raises UnknownImage."""
        ...

    async def ready(self) -> bool:
        """True if a request sent now would be answered: models loaded, replicas up."""
        ...

    def models(self) -> Mapping[str, ModelStatus]:
        """The state of each model by name."""
        ...

    async def store_answers(self) -> bool:
        """True if the store answers. Without it, only images that are known by their content are answered."""
        ...
