"""What the HTTP layer and the deployments say to each other. No torch, no Ray, no HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

from sam3_engine.types import ConceptPrompt, ImageSize, Instance, MaskFormat, VisualPrompt

CacheTier = Literal["hot", "warm", "cold", "miss", "joined"]
Results = TypeVar("Results")


class ImageSource(Protocol):
    """An image that a request brought, not yet read: base64 text, a multipart part or a URL."""

    async def content_id(self) -> str:
        """Hex digest of the image file's bytes. May be known without reading them (a URL fetched a moment ago)."""
        ...

    async def content(self) -> bytes:
        """The image file's bytes, not decoded. Raises what reading them raises (see serve_app.http.errors)."""
        ...


@dataclass(frozen=True, slots=True)
class ImageReference:
    """Which image a request is about: its tenant, and the image, its id, or both."""

    tenant: str
    source: ImageSource | None = None
    image_id: str | None = None
    quota: int | None = None
    """Most bytes kept of this tenant in each of the tiers warm and cold; None: what was said last."""


HITS = ("hot", "warm")
"""Cache tiers that spare a request an encode. With the others, the image was encoded or waited for."""


@dataclass(slots=True)
class Timings:
    """How one request was served: filled on its way, read by headers, logs and metrics."""

    request_id: str
    deadline: float | None = None
    """`time.time()` after which nobody waits for the answer."""
    cache: CacheTier | None = None
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by stage: decode, queue, encode, transfer, prompt, post."""
    waited_s: float = 0.0
    """Seconds until encoder and decoder were free for it, and those of the encode itself."""

    def add(self, stages: Mapping[str, float]) -> None:
        """Add seconds by stage."""
        for stage, seconds in stages.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + seconds

    def merge(self, parts: Sequence["Timings"]) -> None:
        """Sum up how the parts of this request were served. A hit only if all of them were."""
        for part in parts:
            self.add(part.stages)
        tiers = [part.cache for part in parts]
        self.cache = next((tier for tier in tiers if tier not in HITS), tiers[0] if tiers else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRequest(Generic[Results]):
    """A kind of question to the model; `Results` are what it is answered with.

    Each kind has a route in `serve_app.http.sam3` and a handler in `deployments.decoder.handlers`.
    """

    mask_format: MaskFormat = "polygon"
    as_json: bool = False
    """Have `Instance.masks` as `results.JsonText`, for an answer that is only sent on."""


@dataclass(frozen=True, slots=True)
class ConceptRequest(PromptRequest[Sequence[Sequence[Instance]]]):
    """Every instance of each concept: one list per prompt, in prompt order; instances by score, highest first.

    `nms_iou_threshold`: mask IoU beyond which the instance with the lower score goes; None keeps all.
    """

    prompts: Sequence[ConceptPrompt]
    nms_iou_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class VisualRequest(PromptRequest[Sequence[Instance]]):
    """One mask per prompt of clicks and a box, in prompt order.

    Each mask carries its `low_res_logits` when `mask_format` is binary. `multimask`: propose three masks per prompt
    instead of one; the best is answered either way. `save_logits` keeps the chosen low-resolution logits;
    `load_logits` refines those of the best matching earlier one.
    """

    prompts: Sequence[VisualPrompt]
    multimask: bool = True
    save_logits: bool = False
    load_logits: bool = False


@dataclass(frozen=True, slots=True)
class Answer(Generic[Results]):
    """What the model answered about an image. `size`: of the upright original."""

    image_id: str
    size: ImageSize
    results: Results


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image that the server keeps, under one of its ids."""

    image_id: str
    size: ImageSize
    source_bytes: int
    """The image file as it came; 0 when it is not kept any more."""
    embedding_bytes: int
    """In the object store; 0 when it is not kept there."""
    tier: Literal["hot", "warm", "cold"]
    """The fastest one that has it."""
    age_s: float
    """Since it was first sent."""


class UnknownImage(Exception):
    """The id is not in the cache and the request brought no image."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"image {image_id!r} is not in the cache: send the image again")
        self.image_id = image_id


class Overloaded(Exception):
    """Too many requests wait already; try again after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float = 1.0) -> None:
        super().__init__("the server is busy: too many requests are waiting")
        self.retry_after_s = retry_after_s


class DeadlineExceeded(Exception):
    """The request's deadline passed before its answer was ready."""


class Segmenter(Protocol):
    """What the HTTP layer needs. `deployments.ingress.service.SegmentationService` is the real one."""

    async def answer(
        self, image: ImageReference, request: PromptRequest[Results] | None, timings: Timings
    ) -> Answer[Results]:
        """What the model says about an image. `request` None: have the image encoded, so that later requests find it.

        Raises UnknownImage, Overloaded, DeadlineExceeded, and what reading the image raises.
        """
        ...

    async def images(self, tenant: str) -> Sequence[KeptImage]:
        """The tenant's images, newest first; one that has several ids once for each."""
        ...

    async def delete(self, tenant: str, image_id: str) -> None:
        """Forget the image that an id names: everywhere, and under all of its ids. Raises UnknownImage."""
        ...

    async def ready(self) -> bool:
        """Whether a request sent now would be answered: model loaded, replicas up."""
        ...
