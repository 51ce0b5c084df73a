"""Masks that a client wants to refine: low-resolution logits by image and prompt, most recent last.

The matching rule is that of SAM 2's clients: a prompt of n >= 2 points starts from the newest stored prompt
of the same image and box whose points are a strict subset of its own, one with n - 1 points before any other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from deployments.decoder.hot import HotCache
from deployments.keys import ImageKey
from sam3_engine.types import Box, Point, VisualPrompt

Logits = npt.NDArray[np.float32]
"""[h, w]."""
Clicks = tuple[frozenset[Point], Box | None]
"""A prompt without regard to the order of its points."""


def clicks(prompt: VisualPrompt) -> Clicks:
    """The points, in any order, and the box by which a kept prompt is found again."""
    return frozenset(prompt.points), prompt.box


def best_match(wanted: Clicks, stored: Sequence[Clicks]) -> int | None:
    """Index of the stored prompt to start from; `stored` is in order of time, oldest first."""
    points, box = wanted
    if len(points) < 2:
        return None
    fitting = [index for index, (old, old_box) in enumerate(stored) if old_box == box and old < points]
    return max(fitting, key=lambda index: (len(stored[index][0]) == len(points) - 1, index), default=None)


class _OfImage(dict[Clicks, Logits]):
    """The stored logits of one image, oldest first."""

    @property
    def nbytes(self) -> int:
        """Bytes of all logits."""
        return sum(values.nbytes for values in self.values())


class LogitsCache:
    """Stored logits of all images, under a budget of bytes that tenants share as the hot tier's."""

    def __init__(self, budget: int, per_image: int = 64) -> None:
        """per_image: most prompts kept for one image."""
        self._per_image = per_image
        self._images: HotCache[ImageKey, _OfImage] = HotCache(budget)

    def save(self, key: ImageKey, prompts: Iterable[VisualPrompt], logits: Iterable[Logits]) -> None:
        """Keep the chosen logits [h, w] of each prompt."""
        stored = self._images.get(key) or _OfImage()
        for prompt, values in zip(prompts, logits, strict=True):
            stored.pop(clicks(prompt), None)
            stored[clicks(prompt)] = values
        for oldest in list(stored)[: -self._per_image]:
            del stored[oldest]
        if stored.nbytes <= self._images.budget:
            self._images.put(key, stored)
        else:
            self._images.discard(key)

    def load(self, key: ImageKey, prompts: Sequence[VisualPrompt]) -> list[VisualPrompt]:
        """The prompts, each with the logits it may start from; unchanged where nothing matches."""
        stored = self._images.get(key) or _OfImage()
        known = list(stored)
        matches = (best_match(clicks(prompt), known) for prompt in prompts)
        return [
            prompt if match is None else replace(prompt, previous_logits=stored[known[match]])
            for prompt, match in zip(prompts, matches, strict=True)
        ]

    def forget(self, key: ImageKey) -> None:
        """Drop an image's logits."""
        self._images.discard(key)
