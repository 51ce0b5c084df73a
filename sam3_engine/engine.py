"""The model on a device, with its pure functions: images to embeddings, embeddings and prompts to masks.

    engine = Engine.load("tiny")
    embedding = engine.encode([square])[0]
    features = engine.expand(embedding)
    found = engine.segment_concepts([ConceptItem(features, size, [ConceptPrompt("star")])])[0][0]

No call affects the result of another, so any number of threads may share an engine.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine import visual
from sam3_engine.click_pass import Clicked, ClickPass
from sam3_engine.compact import pack, unpack
from sam3_engine.concept_pass import Asked, ConceptPass
from sam3_engine.device import choose_device, choose_dtype
from sam3_engine.embedding import Embedding
from sam3_engine.features import Features, encode_images, normalise
from sam3_engine.graphs import Graphs
from sam3_engine.images import PREPROCESSING
from sam3_engine.phrases import PhraseCache
from sam3_engine.spec import SPECS, ModelSpec
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from sam3_engine.weights import weights_digest

VISUAL_TEXT = "visual"
"""The text that the package pairs with prompts that have boxes only."""
MAX_PROMPTS_AT_ONCE = 16
"""Concept prompts in one decoder pass. This bounds a batch's memory (about 0.2 GB per prompt at full size)."""
REFINING_CLICKS = 3
"""Most points of a refining click that a warm-up knows: a longer one runs without a CUDA graph."""
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


def embedding_version(spec: ModelSpec, weights: str, dtype: torch.dtype) -> str:
    """The name of embeddings that can stand for one another: of one model and its `weights` (a digest), one
    preprocessing of images, one layout and one dtype."""
    name = str(dtype).removeprefix("torch.")
    return f"{spec.name}.weights-{weights}.preprocessing-{PREPROCESSING}.layout-{spec.layout}.{name}"


class Engine:
    """A loaded model. Make one with `Engine.load`."""

    def __init__(self, model: Sam3Image, spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> None:
        self.spec = spec
        self.device = device
        self.dtype = dtype
        weights = weights_digest(model)
        self.model = model.to(device).eval().requires_grad_(False)
        self.phrases = PhraseCache(self.model)
        self._concepts = ConceptPass(self.model, device)
        self._clicks = ClickPass(self.model, spec.image_size, device)
        self.embedding_version = embedding_version(spec, weights, dtype)

    @classmethod
    def load(
        cls,
        model: str = "tiny",
        *,
        checkpoint: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        compile: bool = False,
        threads: int | None = None,
    ) -> "Engine":
        """Load a model's weights onto a device.

        model: "tiny" (bundled) or "sam3" (from `checkpoint`, a `sam3.pt` or its directory, or else from the Hub with
        HF_TOKEN). device: "auto", "cpu", "cuda", "cuda:1". dtype: "auto" (bfloat16 autocast on CUDA, float32
        elsewhere), "float32", "bfloat16". threads: torch's threads in this whole process.

        Raises ValueError for an unknown model and CheckpointError when the weights are missing or do not fit.
        """
        from sam3_engine.assembly import build_model
        from sam3_engine.loading import load_weights

        if model not in SPECS:
            raise ValueError(f"unknown model {model!r}: choose one of {', '.join(SPECS)}")
        if threads is not None:
            torch.set_num_threads(threads)
        spec = SPECS[model]
        built = build_model(spec)
        load_weights(built, spec, checkpoint)
        on = choose_device(device)
        engine = cls(built, spec, on, choose_dtype(dtype, on))
        if compile:
            engine.model.backbone.vision_backbone.trunk.compile()
        return engine

    @classmethod
    def random(cls, spec: ModelSpec, *, seed: int = 0, device: str = "auto", dtype: str = "auto") -> "Engine":
        """An engine with random weights, for tests and benchmarks of shapes and speed."""
        from sam3_engine.assembly import build_model

        on = choose_device(device)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return cls(build_model(spec), spec, on, choose_dtype(dtype, on))

    @property
    def graphs(self) -> Sequence[Graphs]:
        """The CUDA graphs of the decoders' passes; empty until `warm_up`, and on a CPU."""
        return *self._concepts.graphs, *self._clicks.graphs

    @contextlib.contextmanager
    def _inference(self) -> Iterator[None]:
        cast = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=cast):
            yield

    def encode(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Embedding]:
        """Compact embeddings of images, uint8 [S, S, 3] RGB each, already resized to the model's square.

        Raises ValueError for another shape or type.
        """
        side = self.spec.image_size
        for image in images:
            if image.shape != (side, side, 3) or image.dtype != np.uint8:
                raise ValueError(
                    f"expected uint8 images of {side} x {side} x 3, got {image.dtype} {image.shape}"
                )
        with self._inference():
            pixels = normalise(torch.from_numpy(np.stack(images)).to(self.device))
            return pack(encode_images(self.model, pixels), self.embedding_version, self.dtype)

    def expand(self, embedding: Embedding) -> Features:
        """The embedding's features on the device, ready for prompts. Raises StaleEmbedding."""
        with torch.inference_mode():
            return unpack(embedding, self.embedding_version, self.device)

    def segment_concepts(self, items: Sequence[ConceptItem]) -> list[list[ConceptDetections]]:
        """All instances of each prompt's concept: per item a list with one entry per prompt.

        Prompts of all items share the decoder's passes. Masks are computed only for instances above the threshold.
        """
        asked = [(index, prompt) for index, item in enumerate(items) for prompt in item.prompts]
        answers: list[list[ConceptDetections]] = [[] for _ in items]
        for start in range(0, len(asked), MAX_PROMPTS_AT_ONCE):
            chunk = asked[start : start + MAX_PROMPTS_AT_ONCE]
            with self._inference():
                found = self._ground(items, chunk)
            for (index, _), detections in zip(chunk, found, strict=True):
                answers[index].append(detections)
        return answers

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
        """
        asked = [(row, place) for row, item in enumerate(items) for place in range(len(item.prompts))]
        answers: dict[tuple[int, int], VisualMask] = {}
        for multimask in (True, False):
            chosen = [(row, place) for row, place in asked if items[row].multimask is multimask]
            for group in visual.group_prompts([items[row].prompts[place] for row, place in chosen]):
                members = [chosen[index] for index in group]
                with self._inference():
                    masks = self._propose(items, members, multimask)
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

    def warm_up(self, images: int = 1, prompts: int = 1) -> None:
        """Run every path once, so that the first request pays for no lazy initialisation.

        On a GPU, run every batch size up to `images` and `prompts` too: there the first call of each shape chooses
        kernels, compiles and allocates, and the decoders' passes become CUDA graphs. On a CPU the size of a batch makes
        no difference.
        """
        side = self.spec.image_size
        for count in self._batches(images):
            embedding = self.encode([np.zeros((side, side, 3), dtype=np.uint8)] * count)[0]
        features = [self.expand(embedding)]
        if self.device.type == "cuda":  # prompts on several images have shapes of their own
            features.append(self.expand(embedding))
        with self._concepts.capturing(), self._clicks.capturing():
            self._warm_up_concepts(features, min(prompts, MAX_PROMPTS_AT_ONCE))
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
