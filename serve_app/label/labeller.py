"""Second step: the model finds the objects of every class in a batch of decoded images."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sam3_engine.types import ConceptPrompt, ImageSize
from serve_app.label.candidates import cut
from serve_app.label.classes import LabelClass
from serve_app.label.rows import FOUND

if TYPE_CHECKING:
    from sam3_engine.engine import ConceptDetections, Engine
    from serve_app.settings import Settings

TRANSFER = 32
"""Maps of logits that leave the device at once."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text that the model is asked for. of: the class that it finds, or, if `negative`, that it is not."""

    of: LabelClass
    text: str
    negative: bool

    @property
    def concept(self) -> ConceptPrompt:
        """As the engine takes it."""
        return ConceptPrompt(self.text, score_threshold=self.of.threshold)


def prompts_of(classes: Sequence[LabelClass]) -> list[Prompt]:
    """The prompts of a run, class by class."""
    return [
        Prompt(one, text, negative)
        for one in classes
        for negative, texts in ((False, one.phrases), (True, one.negatives))
        for text in texts
    ]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The arguments of `Engine.load`. model: also "tiny-random", for tests. threads: of torch; None: its choice."""

    model: str = "tiny"
    checkpoint: str | None = None
    base: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    compile: bool = False
    compile_cache: str | None = None
    threads: int | None = None

    @classmethod
    def of(cls, settings: "Settings") -> "ModelChoice":
        """The one model of these settings."""
        return cls(
            settings.model,
            settings.checkpoint,
            settings.base_checkpoint,
            settings.device,
            settings.dtype,
            settings.compile,
            str(settings.compile_cache) if settings.compile_cache else None,
        )

    def load(self) -> "Engine":
        """Raises CheckpointError, and ValueError for a device that is not there."""
        from sam3_engine.engine import Engine
        from sam3_engine.spec import SPECS

        if self.model.endswith("-random"):
            spec = SPECS[self.model.removesuffix("-random")]
            return Engine.random(spec, device=self.device, dtype=self.dtype)
        return Engine.load(
            self.model,
            checkpoint=self.checkpoint,
            base=self.base,
            device=self.device,
            dtype=self.dtype,
            compile=self.compile,
            compile_cache=self.compile_cache,
            threads=self.threads,
        )


class LabelImages:
    """A batch class: tables of `rows.DECODED` to `rows.FOUND`. Loads the model once; any number of classes."""

    def __init__(self, classes: Sequence[LabelClass], choice: ModelChoice | None = None) -> None:
        self._engine = (choice or ModelChoice()).load()
        self._concepts = [prompt.concept for prompt in prompts_of(classes)]

    def __call__(self, table: pa.Table) -> pa.Table:
        """One row an image, in their order."""
        readable = table.filter(pc.is_null(table["error"]))
        start = time.perf_counter()
        found = iter(self._find(readable))
        seconds = (time.perf_counter() - start) / max(1, len(readable))
        candidates = [next(found) if error is None else None for error in table["error"].to_pylist()]
        worked = [None if one is None else seconds for one in candidates]
        model = [self._engine.version] * len(table)
        kept = table.drop_columns(["square"])
        for name, values in (("candidates", candidates), ("model", model), ("model_s", worked)):
            kept = kept.append_column(FOUND.field(name), pa.array(values, FOUND.field(name).type))
        return kept.cast(FOUND)

    def _find(self, table: pa.Table) -> list[list[dict[str, Any]]]:
        """The candidates of each image, in the order of the prompts."""
        from sam3_engine.engine import ConceptItem

        if not len(table):
            return []
        side = self._engine.spec.image_size
        squares = [
            np.frombuffer(value.as_buffer(), dtype=np.uint8).reshape(side, side, 3)
            for value in table["square"]
        ]
        sizes = map(ImageSize, table["height"].to_pylist(), table["width"].to_pylist())
        items = [
            ConceptItem(self._engine.expand(embedding), size, self._concepts)
            for embedding, size in zip(self._engine.encode(squares), sizes, strict=True)
        ]
        return [
            [one for number, found in zip(count(), of_image) for one in _candidates(number, found)]
            for of_image in self._engine.segment_concepts(items)
        ]


def _candidates(prompt: int, found: "ConceptDetections") -> Iterator[dict[str, Any]]:
    scores = iter(found.scores.tolist())
    every = found.mask_logits.detach()
    for start in range(0, len(every), TRANSFER):
        for logits in every[start : start + TRANSFER].cpu().float().numpy():
            score = next(scores)
            if (fields := cut(logits)) is not None:
                yield {"prompt": prompt, "score": score, **fields}
