"""One pass of the concept decoder: prompts on images in host memory in, scores, boxes and masks out.

The host waits for the device once, when it reads the scores. On CUDA, batches are padded to the sizes that have a
graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine import concept
from sam3_engine.batches import one_or_all, pad
from sam3_engine.features import Features
from sam3_engine.fusion import FusedImages, join
from sam3_engine.graphs import Graphs, Tensors
from sam3_engine.phrases import Phrase, stack
from sam3_engine.types import ConceptPrompt, ImageSize
from sam3_engine.upload import upload

PLANES_AT_ONCE = 4
"""Most prompts whose masks are made by a graph. More are so much work that launches do not count, and a graph would
hold memory for it: 0.2 GB a prompt at full size."""

Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], torch.Tensor]
"""Scores [N] and boxes [N, 4] in pixels, highest score first; mask logits [N, 4g, 4g] on the device."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt on one image of `size`, with the features of its text."""

    features: Features
    size: ImageSize
    prompt: ConceptPrompt
    phrase: Phrase


class ConceptPass:
    """The concept decoder on a device."""

    def __init__(self, model: Sam3Image, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._ground = Graphs.on(self._grounded, device)
        self._planes = Graphs.on(
            lambda *inputs: (concept.pixel_planes(model, *inputs),), device, largest=PLANES_AT_ONCE
        )

    @property
    def graphs(self) -> Sequence[Graphs]:
        """The graphs of grounding and of the pixel decoder."""
        return self._ground, self._planes

    def __call__(self, asked: Sequence[Asked]) -> list[Found]:
        """The instances that each prompt finds, in the prompts' order.

        Masks are computed for instances above the prompt's threshold alone.
        """
        padded = pad(asked, self._ground.padded(len(asked)))
        images = join([one.features.fused(self._model) for one in padded])
        text = stack([one.phrase for one in padded])
        tensors = (
            images.tokens,
            images.position,
            images.attended,
            images.no_boxes,
            text.tokens,
            text.padding,
        )
        with self._ground.run(*tensors, *self._boxes(padded), count=len(padded)) as (table, *inner):
            answers = table[: len(asked)].to("cpu", copy=True)  # the one wait
            scores, corners = answers[..., 0], answers[..., 1:]
            thresholds = torch.tensor([one.prompt.score_threshold for one in asked])
            prompt_ids, query_ids = _kept(scores, thresholds)
            masks = self._masks(asked, inner, prompt_ids, query_ids)
        counts = prompt_ids.bincount(minlength=len(asked)).tolist()
        found = zip(
            asked,
            scores[prompt_ids, query_ids].split(counts),
            corners[prompt_ids, query_ids].split(counts),
            masks.split(counts),
            strict=True,
        )
        return [
            (
                some.numpy(),
                boxes.numpy() * np.array([one.size.width, one.size.height] * 2, np.float32),
                logits,
            )
            for one, some, boxes, logits in found
        ]

    def _boxes(self, asked: Sequence[Asked]) -> Tensors:
        longest = max(len(one.prompt.boxes) for one in asked)
        if not longest:
            return ()
        prompts, sizes = [one.prompt for one in asked], [one.size for one in asked]
        boxes = concept.exemplars(prompts, sizes, self._device, self._ground.padded(longest))
        return boxes.boxes, boxes.labels, boxes.padding

    def _grounded(
        self,
        tokens: torch.Tensor,
        position: torch.Tensor,
        attended: torch.Tensor,
        no_boxes: torch.Tensor,
        text: torch.Tensor,
        text_padding: torch.Tensor,
        *boxes: torch.Tensor,
    ) -> Tensors:
        """A table float32 [P, Q, 5] of scores and boxes, and the tensors that the masks are made from."""
        found = concept.ground(
            self._model,
            FusedImages(tokens, position, attended, no_boxes),
            concept.TextFeatures(text, text_padding),
            concept.Exemplars(*boxes) if boxes else None,
        )
        table = torch.cat([found.scores.float().unsqueeze(-1), found.boxes[-1].float()], dim=-1)
        return table, found.queries, found.hidden, found.prompt, found.prompt_padding

    def _masks(
        self,
        asked: Sequence[Asked],
        inner: Sequence[torch.Tensor],
        prompt_ids: torch.Tensor,
        query_ids: torch.Tensor,
    ) -> torch.Tensor:
        """Mask logits of N queries; the pixel decoder runs once per distinct prompt."""
        queries, hidden, prompt, padding = inner
        pyramids = [one.features.pyramid(self._model) for one in asked]
        if not len(prompt_ids):
            side = pyramids[0][0].shape[-1]
            return hidden.new_zeros(0, side, side)
        distinct, counts = (part.tolist() for part in prompt_ids.unique_consecutive(return_counts=True))
        rows = pad(distinct, self._planes.padded(len(distinct)))
        levels = [one_or_all([pyramids[row][level] for row in rows]) for level in (0, 1)]
        if rows != list(range(hidden.shape[1])):
            chosen = upload(torch.tensor(rows), self._device)
            hidden, prompt, padding = hidden[:, chosen], prompt[:, chosen], padding[chosen]
        picked = upload(torch.stack([prompt_ids, query_ids]), self._device)
        shared = len(levels[0]) == 1  # maps of several images are too large to copy them into a graph
        count = len(rows) if shared else PLANES_AT_ONCE + 1
        with self._planes.run(*levels, hidden, prompt, padding, count=count) as (planes,):
            return concept.masks_of(self._model, planes, queries[picked[0], picked[1]], counts)


def _kept(scores: torch.Tensor, thresholds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompt and query of each score [P, Q] that reaches its prompt's threshold; per prompt, best first."""
    ordered, queries = scores.sort(dim=1, descending=True, stable=True)
    prompt_ids, ranks = (ordered >= thresholds[:, None]).nonzero(as_tuple=True)
    return prompt_ids, queries[prompt_ids, ranks]
