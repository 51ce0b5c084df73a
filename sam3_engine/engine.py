"""The model on a device, with its pure functions: images to embeddings, embeddings and prompts to masks.

    engine = Engine.load("tiny")
    embedding = engine.encode([square])[0]
    features = engine.expand(embedding)
    found = engine.segment_concepts([ConceptItem(features, size, [ConceptPrompt("star")])])[0][0]

No call affects the result of another, so any number of threads may share an engine.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine import visual
from sam3_engine.click_pass import Clicked, ClickPass
from sam3_engine.compact import PendingEmbedding, pack, unpack
from sam3_engine.concept_pass import Asked, ConceptPass
from sam3_engine.device import Precision, choose_device, choose_precision, set_tf32
from sam3_engine.embedding import Embedding
from sam3_engine.encode_pass import EncodePass
from sam3_engine.features import Features, ImageFeatures
from sam3_engine.graphs import Graphs
from sam3_engine.images import PREPROCESSING
from sam3_engine.out_of_memory import Item, Result, in_halves
from sam3_engine.phrases import PhraseCache
from sam3_engine.roles import Role, check_role
from sam3_engine.spec import SPECS, GraphUse, ModelSpec
from sam3_engine.transfer import Transfer
from sam3_engine.trunk.float8 import check_float8
from sam3_engine.trunk.vit import Trunk
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from sam3_engine.weights import Digests, digests, weights_digest

VISUAL_TEXT = "visual"
"""The text that the package pairs with prompts that have boxes only."""
MAX_PROMPTS_AT_ONCE = 16
"""Concept prompts in one decoder pass. This bounds a batch's memory (about 0.2 GB per prompt at full size)."""
REFINING_CLICKS = 3
"""Most points of a refining click that a warm-up knows: a longer one runs without a CUDA graph."""
FLOAT8 = "float8"
"""Ends the version of embeddings whose trunk computes in float8."""
LOGIT_LIMIT = 32.0
"""Low-resolution logits are clamped to this before they are handed out for refinement, as SAM does."""


@dataclass(frozen=True, slots=True)
class ConceptItem:
    """One image's concept prompts."""

    features: Features
    size: ImageSize
    prompts: Sequence[ConceptPrompt]


@dataclass(frozen=True, slots=True)
class VisualItem:
    """One image's click and box prompts. `multimask`: propose three masks per prompt instead of one."""

    features: Features
    size: ImageSize
    prompts: Sequence[VisualPrompt]
    multimask: bool = True


@dataclass(frozen=True, slots=True)
class ConceptDetections:
    """The N instances that one concept prompt found, highest score first.

    scores: float32 [N]; boxes: float32 [N, 4] (x0, y0, x1, y1) in pixels of the original;
    mask_logits: [N, 4g, 4g] on the device, for the whole image, in the dtype that the model computes with. warnings:
    sentences for the client about the prompt.
    """

    scores: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float32]
    mask_logits: torch.Tensor
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VisualMask:
    """The mask proposal with the highest predicted IoU.

    mask_logits: float32 [4g, 4g] on the host; low_res_logits: the same, clamped for refinement.
    """

    score: float
    mask_logits: torch.Tensor
    low_res_logits: npt.NDArray[np.float32]


def embedding_version(spec: ModelSpec, encoder: str, dtype: torch.dtype) -> str:
    """The name of embeddings that can stand for one another: of the same weights that encode (`encoder`, their digest),
    one preprocessing of images, one layout and one dtype. Models that differ in other weights share it."""
    return _version(spec, f"encoder-{encoder}", dtype)


def _version(spec: ModelSpec, weights: str, dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    return f"{spec.name}.{weights}.preprocessing-{PREPROCESSING}.layout-{spec.layout}.{name}"


class Engine:
    """A loaded model, or the part of one that a role needs. Make one with `Engine.load`."""

    def __init__(
        self,
        model: Sam3Image,
        spec: ModelSpec,
        role: Role,
        device: torch.device,
        precision: Precision,
        weights: Digests,
        video: str | None = None,
    ) -> None:
        """model: on its device, with the parts that `role` needs. weights: `digests` of the whole checkpoint.
        video: that of the weights that only video needs; None for a model without these parts."""
        self.model = model
        self.spec = spec
        self.role = role
        self.device = device
        self.precision = precision
        self.phrases = PhraseCache(model)
        self.prompts_at_once = MAX_PROMPTS_AT_ONCE
        """Most concept prompts in one pass."""
        self.on_out_of_memory: Callable[[], None] = lambda: None
        """Called for each batch that the GPU had too little memory for."""
        self._transfer = Transfer(device)
        self._concepts = ConceptPass(model, device)
        self._clicks = ClickPass(model, spec.image_size, device)
        self.graph_use: GraphUse = "decoders"
        """The passes that `warm_up` makes CUDA graphs of."""
        self.trunk: Trunk | None = None
        """Runs instead of the model's own; None on a decoder."""
        self._encodes: EncodePass | None = None
        if role != "decoder":
            state = model.backbone.vision_backbone.trunk.state_dict()
            self.trunk = Trunk.of(spec, state, precision.trunk)
            self._encodes = EncodePass(model, self.trunk, precision.embedding, device)
        self.weights = weights
        self.embedding_version = embedding_version(spec, weights.encoder, precision.embedding)
        self.version = _version(spec, f"weights-{weights.whole}", precision.embedding)
        """The name of models that give the same answers."""
        self.track_version = None if video is None else f"{self.version}.video-{video}"
        """The name of tracks' states that can stand for one another; None on an engine that cannot track."""

    @classmethod
    def load(
        cls,
        model: str = "tiny",
        *,
        role: Role = "all",
        checkpoint: str | None = None,
        base: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        compile: bool = False,
        compile_cache: str | None = None,
        threads: int | None = None,
        video: bool = False,
    ) -> "Engine":
        """Load a model's weights onto a device.

        model: "tiny" (bundled) or "sam3" (facebook/sam3 from the Hub, with HF_TOKEN), unless `checkpoint` names other
        weights of its size: see `hub.resolve_checkpoint`. base: weights that a fine-tune or an adapter is laid over.
        role: "encoder" encodes images, "decoder" answers prompts, "all" does both; weights that a role does not need
        are not loaded. device: "auto", "cpu", "cuda", "cuda:1". dtype: "float32", "bfloat16", or "auto" (bfloat16 on
        CUDA and for large models, else float32); `device.choose_precision` tells the format of each part. compile:
        compile the trunk when it first runs. compile_cache: folder for the compiled code of this whole process.
        threads: torch's threads in this whole process. video: load also the parts that remember earlier frames, for
        `sam3_engine.tracking`; an encoder has none.

        Raises ValueError for an unknown model, role, device or dtype, and CheckpointError when the weights are missing
        or do not fit.
        """
        from sam3_engine.loading import read_checkpoint

        if model not in tuple(SPECS):  # so that a list is told, too
            raise ValueError(f"unknown model {model!r}: choose one of {', '.join(SPECS)}")
        check_role(role)
        if threads is not None:
            torch.set_num_threads(threads)
        spec, on = SPECS[model], choose_device(device)
        choose_precision(dtype, on, spec)  # refuses a wrong name before gigabytes are read
        weights = read_checkpoint(spec, checkpoint, base, video=video)
        engine = cls.from_state(weights, spec, role=role, device=device, dtype=dtype, video=video)
        if compile and engine.trunk is not None:
            engine.trunk.compile_blocks(cache=compile_cache)
        return engine

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, torch.Tensor],
        spec: ModelSpec,
        *,
        role: Role = "all",
        device: str = "auto",
        dtype: str = "auto",
        video: bool = False,
    ) -> "Engine":
        """An engine with the weights of a state dict, under the names of the model or of the official file. It is of
        the whole model, whatever the role: its digest is part of the embeddings' version. Errors as of `load`."""
        from sam3_engine.loading import load_model

        on = choose_device(device)
        precision = choose_precision(dtype, on, spec)
        set_tf32(precision)
        tracks = video and role != "encoder"
        model = load_model(spec, state, role, precision, on, video=tracks)
        digest = weights_digest(state, video=True) if tracks else None
        return cls(model, spec, role, on, precision, digests(state), digest)

    @classmethod
    def random(
        cls,
        spec: ModelSpec,
        *,
        seed: int = 0,
        role: Role = "all",
        device: str = "auto",
        dtype: str = "auto",
        video: bool = False,
    ) -> "Engine":
        """An engine with random weights, for tests and benchmarks of shapes and speed."""
        from sam3_engine.assembly import build_model

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            state = build_model(spec, video=video).state_dict()
        return cls.from_state(state, spec, role=role, device=device, dtype=dtype, video=video)

    @property
    def graphs(self) -> Sequence[Graphs]:
        """The CUDA graphs of all passes; empty until `warm_up`, and on a CPU."""
        encodes = (self._encodes.graphs,) if self._encodes else ()
        return *self._concepts.graphs, *self._clicks.graphs, *encodes

    def use_graphs(self, use: GraphUse) -> None:
        """Choose the passes that the next `warm_up` makes CUDA graphs of, and drop those that were made. "none" holds
        for the engine's whole life."""
        self.graph_use = use
        for graphs in self.graphs:
            graphs.forget(forever=use == "none")

    def use_float8(self) -> None:
        """Compute the image trunk's linear layers in float8, an experiment for GPUs that have it. Embeddings get a
        version of their own, so decoders of such encoders need the same call. Call it before anything runs.

        Raises ValueError where the trunk's device does not multiply float8, and for an engine in float32.
        """
        if self.trunk is not None:
            check_float8(self.device, self.precision.trunk)
            self.trunk.use_float8()
            self.model.backbone.vision_backbone.trunk.blocks.to(
                "meta"
            )  # it shared the weights that were replaced
        self.embedding_version = f"{self.embedding_version}-{FLOAT8}"
        self.version = f"{self.version}-{FLOAT8}"
        if self.track_version is not None:
            self.track_version = f"{self.track_version}-{FLOAT8}"

    @contextlib.contextmanager
    def _inference(self, dtype: torch.dtype) -> Iterator[None]:
        cast = dtype != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=dtype if cast else None, enabled=cast),
        ):
            yield

    def needs(self, role: Role) -> None:
        """Raises ValueError where this engine has no weights of the role."""
        if self.role not in (role, "all"):
            raise ValueError(f"this engine was loaded as {self.role}, and has no weights of the {role}")

    def encode(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Embedding]:
        """Compact embeddings of images, uint8 [S, S, 3] RGB each, already resized to the model's square.

        Raises ValueError for another shape or type, and on a decoder; DeviceFull.
        """
        return [pending.result() for pending in self.start_encode(images)]

    def start_encode(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[PendingEmbedding]:
        """Begin to encode images, which `encode` describes. On a GPU this returns while it computes, so that the caller
        can prepare the next batch. It waits where two batches are under way already."""
        self.needs("encoder")
        side = self.spec.image_size
        for image in images:
            if image.shape != (side, side, 3) or image.dtype != np.uint8:
                raise ValueError(
                    f"expected uint8 images of {side} x {side} x 3, got {image.dtype} {image.shape}"
                )
        return in_halves(self._encode, images, self.on_out_of_memory)

    def _encode(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[PendingEmbedding]:
        assert self._encodes is not None  # `needs` has refused a decoder
        with self._inference(self.precision.trunk):
            self._transfer.wait_for_room()
            return self._pack(self._encodes(self._transfer.to_device(images)))

    def _pack(self, features: ImageFeatures) -> list[PendingEmbedding]:
        return pack(features, self.embedding_version, self.precision.embedding, self._transfer)

    def expand(self, embedding: Embedding) -> Features:
        """The embedding's features on the device, ready for prompts. Raises StaleEmbedding and DeviceFull."""
        return in_halves(self._expand, [embedding], self.on_out_of_memory)[0]

    def _expand(self, embeddings: Sequence[Embedding]) -> list[Features]:
        with torch.inference_mode():
            found = [unpack(one, self.embedding_version, self._transfer) for one in embeddings]
            # Without autocast, layers and what they are given must have one format.
            return [one.float() for one in found] if self.precision.decoders == torch.float32 else found

    def segment_concepts(self, items: Sequence[ConceptItem]) -> list[list[ConceptDetections]]:
        """All instances of each prompt's concept: per item a list with one entry per prompt.

        Prompts of all items share the decoder's passes. Masks are computed only for instances above the threshold.
        Raises ValueError on an encoder, and DeviceFull.
        """
        self.needs("decoder")
        asked = [(index, prompt) for index, item in enumerate(items) for prompt in item.prompts]
        answers: list[list[ConceptDetections]] = [[] for _ in items]
        for start in range(0, len(asked), self.prompts_at_once):
            chunk = asked[start : start + self.prompts_at_once]
            found = self.in_passes(partial(self._ground, items), chunk)
            for (index, _), detections in zip(chunk, found, strict=True):
                answers[index].append(detections)
        return answers

    def in_passes(self, run: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
        """`run(items)` with the decoders' arithmetic; in several passes where one needs too much memory."""

        def one_pass(part: Sequence[Item]) -> list[Result]:
            with self._inference(self.precision.decoders):
                return run(part)

        return in_halves(one_pass, items, self.on_out_of_memory)

    def _ground(
        self, items: Sequence[ConceptItem], chunk: Sequence[tuple[int, ConceptPrompt]]
    ) -> list[ConceptDetections]:
        prompts = [prompt for _, prompt in chunk]
        texts = [prompt.text or VISUAL_TEXT for prompt in prompts]
        distinct = list(dict.fromkeys(texts))
        phrase_of = dict(zip(distinct, self.phrases.phrases(distinct), strict=True))
        phrases = [phrase_of[text] for text in texts]
        asked = [
            Asked(items[index].features, items[index].size, prompt, phrase)
            for (index, prompt), phrase in zip(chunk, phrases, strict=True)
        ]
        return [
            ConceptDetections(scores, boxes, masks, phrase.warnings)
            for (scores, boxes, masks), phrase in zip(self._concepts(asked), phrases, strict=True)
        ]

    def segment_visual(self, items: Sequence[VisualItem]) -> list[list[VisualMask]]:
        """One mask per click or box prompt: per item a list in the order of its prompts.

        Prompts with equal numbers of points share a pass. No answer depends on the other prompts of the batch.
        Raises ValueError on an encoder, and DeviceFull.
        """
        self.needs("decoder")
        asked = [(row, place) for row, item in enumerate(items) for place in range(len(item.prompts))]
        answers: dict[tuple[int, int], VisualMask] = {}
        for multimask in (True, False):
            chosen = [(row, place) for row, place in asked if items[row].multimask is multimask]
            for group in visual.group_prompts([items[row].prompts[place] for row, place in chosen]):
                members = [chosen[index] for index in group]
                propose = partial(self._propose, items, multimask=multimask)
                masks = self.in_passes(propose, members)
                answers.update(zip(members, masks, strict=True))
        return [[answers[row, place] for place in range(len(item.prompts))] for row, item in enumerate(items)]

    def _propose(
        self, items: Sequence[VisualItem], members: Sequence[tuple[int, int]], multimask: bool
    ) -> list[VisualMask]:
        clicked = [
            Clicked(items[row].features.image.pvs, items[row].size, items[row].prompts[place])
            for row, place in members
        ]
        quality, logits = self._clicks(clicked, multimask=multimask)
        low_res = logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT).numpy()
        return [
            VisualMask(score, mask, low)
            for score, mask, low in zip(quality.tolist(), logits, low_res, strict=True)
        ]

    def sample(self) -> Embedding:
        """An embedding of this engine's version that is of no image: fixed noise, for trying a decoder out."""
        spec, rng = self.spec, torch.Generator().manual_seed(0)
        grid, width = spec.grid, spec.d_model

        def noise(channels: int, side: int) -> torch.Tensor:
            return torch.randn(1, channels, side, side, generator=rng).to(self.device)

        pvs = (noise(width // 8, 4 * grid), noise(width // 4, 2 * grid), noise(width, grid))
        made = ImageFeatures(noise(spec.vit_dim, grid), pvs)
        return self._pack(made)[0].result()

    def warm_up(self, images: int = 1, prompts: int = 1) -> None:
        """Run every path of the role once, so that the first request pays for no lazy initialisation.

        On a GPU, run every batch size up to `images` and `prompts` too: there the first call of each shape chooses
        kernels, compiles and allocates, and the decoders' passes become CUDA graphs. On a CPU the size of a batch makes
        no difference. 0 skips a path.
        """
        if self.role != "decoder" and images:
            self._warm_up_images(images)
        if self.role != "encoder" and prompts:
            self._warm_up_prompts(prompts)

    def _warm_up_images(self, images: int) -> None:
        side = self.spec.image_size
        assert self._encodes is not None
        wanted = self.graph_use == "all"
        with self._encodes.graphs.capturing() if wanted else contextlib.nullcontext():
            for count in self._batches(images):
                self.encode([np.zeros((side, side, 3), dtype=np.uint8)] * count)

    def _warm_up_prompts(self, prompts: int) -> None:
        features = [self.expand(self.sample())]
        if self.device.type == "cuda":  # prompts on several images have shapes of their own
            features.append(self.expand(self.sample()))
        with contextlib.ExitStack() as capturing:
            for graphs in (*self._concepts.graphs, *self._clicks.graphs):
                capturing.enter_context(graphs.capturing())
            self._warm_up_concepts(features, min(prompts, self.prompts_at_once))
            self._warm_up_clicks(features, prompts)

    def _warm_up_concepts(self, features: Sequence[Features], most: int) -> None:
        side = self.spec.image_size
        size = ImageSize(side, side)
        box = (side * 0.25, side * 0.25, side * 0.75, side * 0.75)
        for prompt in (
            ConceptPrompt(VISUAL_TEXT, score_threshold=0.0),
            ConceptPrompt(None, (box,), (True,), 0.0),
        ):
            for count in self._batches(most):
                for shares in _shares(features, count):
                    self.segment_concepts([ConceptItem(one, size, [prompt] * n) for one, n in shares])

    def _warm_up_clicks(self, features: Sequence[Features], most: int) -> None:
        side = self.spec.image_size
        size = ImageSize(side, side)
        centre = (Point(side / 2, side / 2),)
        box = VisualPrompt(box=(side * 0.25, side * 0.25, side * 0.75, side * 0.75))
        for click in (box, VisualPrompt(), VisualPrompt(centre)):
            for multimask in (True, False):
                for count in self._batches(most):
                    for shares in _shares(features, count):
                        answers = self.segment_visual(
                            [VisualItem(one, size, [click] * n, multimask) for one, n in shares]
                        )
        previous = answers[0][0].low_res_logits
        for points in range(1, REFINING_CLICKS + 1):
            again = VisualPrompt(centre * points, previous_logits=previous)
            for multimask in (True, False):
                self.segment_visual([VisualItem(features[0], size, [again], multimask)])

    def _batches(self, most: int) -> range:
        return range(1, most + 1) if self.device.type == "cuda" else range(1, 2)


def _shares(features: Sequence[Features], count: int) -> list[list[tuple[Features, int]]]:
    """The ways to spread `count` prompts that have shapes of their own: on one image, and on two."""
    ways = [[(features[0], count)]]
    if len(features) > 1 and count > 1:
        ways.append([(features[0], count - 1), (features[1], 1)])
    return ways
