"""One pass of the click decoder: prompts on images in host memory in, mask logits in host memory out.

The host waits for the device once, when it reads the answer. On CUDA, the whole pass is one graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine import visual
from sam3_engine.batches import one_or_all, pad
from sam3_engine.features import Pyramid
from sam3_engine.graphs import Graphs, Tensors
from sam3_engine.types import ImageSize, VisualPrompt


@dataclass(frozen=True, slots=True)
class Clicked:
    """One prompt on one image of `size`, with the image's PVS features."""

    pvs: Pyramid
    size: ImageSize
    prompt: VisualPrompt


class ClickPass:
    """The click decoder on a device."""

    def __init__(self, model: Sam3Image, image_size: int, device: torch.device) -> None:
        self._model = model
        self._image_size = image_size
        self._device = device
        self._position: torch.Tensor | None = None
        self._graphs = {
            multimask: Graphs.on(partial(self._best, multimask), device) for multimask in (True, False)
        }

    @property
    def graphs(self) -> Sequence[Graphs]:
        """The graphs with three proposals, and with one."""
        return tuple(self._graphs.values())

    def __call__(self, clicked: Sequence[Clicked], *, multimask: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicted IoU [P] and logits [P, 4g, 4g] of each prompt's best proposal, float32 on the host.

        The prompts are of one group of `visual.group_prompts`.
        """
        if self._position is None:
            self._position = visual.dense_position(self._model)
        graphs = self._graphs[multimask]
        padded = pad(clicked, graphs.padded(len(clicked)))
        asked = visual.clicks(
            [one.prompt for one in padded], [one.size for one in padded], self._image_size, self._device
        )
        levels = [one_or_all([one.pvs[level] for one in padded]) for level in range(3)]
        previous = () if asked.previous is None else (asked.previous,)
        with graphs.run(*levels, asked.points, asked.labels, *previous, count=len(padded)) as (table,):
            # The one wait. A copy even where the table is in host memory: the next call may overwrite it.
            answers = table[: len(clicked)].to("cpu", copy=True)
        side = levels[0].shape[-1]
        return answers[:, 0], answers[:, 1:].unflatten(1, (side, side))

    def _best(
        self,
        multimask: bool,
        fine: torch.Tensor,
        middle: torch.Tensor,
        coarse: torch.Tensor,
        points: torch.Tensor,
        labels: torch.Tensor,
        *previous: torch.Tensor,
    ) -> Tensors:
        """A table float32 [P, 1 + 4g * 4g]: the best proposal's quality, then its logits."""
        proposals = visual.propose(
            self._model,
            (fine, middle, coarse),
            visual.Clicks(points, labels, previous[0] if previous else None),
            multimask=multimask,
            position=self._position,
        )
        quality, best = proposals.quality.float().max(dim=1)
        logits = proposals.logits[torch.arange(len(best), device=best.device), best].float()
        return (torch.cat([quality.unsqueeze(1), logits.flatten(1)], dim=1),)
