"""The tracks are those of the package's own predictor on the same weights, frame by frame, over the whole clip.

The predictor is the package's `Sam3TrackerPredictor` around our model's modules. Its three places that name CUDA do
nothing here: `pin_memory` and `cuda` of a tensor on a CPU return the tensor.
"""

from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sam3.model.sam3_tracking_predictor import Sam3TrackerPredictor

from sam3_engine.engine import Engine
from sam3_engine.features import Features, normalise
from sam3_engine.spec import TINY
from sam3_engine.tracking.passes import CorrectItem, StartItem, StepItem, Tracked, correct, start, step
from sam3_engine.tracking.prompts import MaskPrompt
from sam3_engine.types import ImageSize, Point, VisualPrompt

Square = npt.NDArray[np.uint8]
SIZE = ImageSize(224, 224)
CLOSE: dict[str, Any] = {"rtol": 1e-3, "atol": 5e-3}
"""Of logits with a range of about 20; memories at rest are bfloat16 on both sides, so errors may add up to one step of
their rounding."""


@pytest.fixture(autouse=True)
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self, *_args, **_kwargs: self)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, *_args, **_kwargs: self)


class Official:
    """The package's predictor over a clip whose features it finds cached."""

    def __init__(self, engine: Engine, clip: list[Square]) -> None:
        tracker = copy(engine.model.inst_interactive_predictor.model)
        tracker.__class__ = Sam3TrackerPredictor
        # As `sam3.model_builder.build_tracker` and the predictor's constructor set them. The constructor itself would
        # switch CUDA autocast on for the whole process.
        tracker.clear_non_cond_mem_around_input = True
        tracker.clear_non_cond_mem_for_multi_obj = False
        tracker.fill_hole_area = 0
        tracker.always_start_from_first_ann_frame = False
        tracker.max_point_num_in_prompt_enc = 16
        tracker.non_overlap_masks_for_output = False
        tracker.iter_use_prev_mask_pred = True
        tracker.add_all_frames_to_correct_as_cond = True
        self.predictor = tracker
        self.state = tracker.init_state(
            *SIZE,
            num_frames=len(clip),
            cached_features=features_of(engine, clip),
            offload_state_to_cpu=True,  # else it would be on CUDA
        )

    def click(
        self, frame: int, points: list[tuple[float, float]], labels: list[int], box: Any = None
    ) -> None:
        relative = torch.tensor(points, dtype=torch.float32).reshape(-1, 2) / SIZE.width
        corners = None if box is None else torch.tensor(box, dtype=torch.float32) / SIZE.width
        self.predictor.add_new_points_or_box(
            self.state, frame, 1, relative, torch.tensor(labels, dtype=torch.int32), box=corners
        )

    def track(self, first: int, last: int) -> list[tuple[torch.Tensor, float]]:
        """Low-resolution logits and the object's logit, of the frames from first to last."""
        found = self.predictor.propagate_in_video(
            self.state, first, last - first, False, tqdm_disable=True, propagate_preflight=True
        )
        return [(masks[0, 0], scores[0, 0].item()) for _, _, masks, _, scores in found]


@torch.inference_mode()
def features_of(engine: Engine, clip: list[Square]) -> dict[int, Any]:
    """The package's features by frame, from its own neck and trunk."""
    model = engine.model
    tracker = model.inst_interactive_predictor.model
    cached = {}
    for number, square in enumerate(clip):
        pixels = normalise(torch.from_numpy(square[None]))
        _, _, maps, positions = model.backbone.vision_backbone(pixels)
        maps, positions = list(maps[:3]), list(positions[:3])
        maps[0] = tracker.sam_mask_decoder.conv_s0(maps[0])
        maps[1] = tracker.sam_mask_decoder.conv_s1(maps[1])
        cached[number] = (pixels, {"backbone_fpn": maps, "vision_pos_enc": positions})
    return cached


def same(ours: Tracked, theirs: tuple[torch.Tensor, float]) -> None:
    logits, presence = theirs
    assert ours.presence == pytest.approx(torch.tensor(presence).sigmoid().item(), abs=1e-3)
    np.testing.assert_allclose(ours.mask_logits.clamp(-32, 32), logits.clamp(-32, 32), **CLOSE)


def follow(engine: Engine, tracked: Tracked, features: list[Features], last: int) -> list[Tracked]:
    found = []
    for frame in range(tracked.state.frame + 1, last + 1):
        tracked = step(engine, [StepItem(features[frame], [tracked.state], frame)])[0][0]
        found.append(tracked)
    return found


@pytest.mark.parametrize(
    ("prompt", "arguments"),
    [
        (VisualPrompt((Point(35, 70),)), ([(35, 70)], [1])),
        (VisualPrompt((Point(35, 70), Point(150, 20, False))), ([(35, 70), (150, 20)], [1, 0])),
        (VisualPrompt(box=(8, 48, 52, 92)), ([], [], (8, 48, 52, 92))),
    ],
    ids=["click", "two clicks", "box"],
)
def test_a_track_equals_the_packages_predictor(
    tracker: Engine, clip: list[Square], features: list[Features], prompt: VisualPrompt, arguments: Any
) -> None:
    official = Official(tracker, clip)
    official.click(0, *arguments)
    theirs = official.track(0, len(clip) - 1)
    first = start(tracker, [StartItem(features[0], SIZE, [prompt])])[0][0]
    ours = [first, *follow(tracker, first, features, len(clip) - 1)]
    assert len(ours) == len(theirs) == len(clip) >= 12
    for our, their in zip(ours, theirs, strict=True):
        same(our, their)


def test_corrections_equal_the_packages_predictor(
    tracker: Engine, clip: list[Square], features: list[Features]
) -> None:
    """More frames with clicks than are attended to: the fifth displaces the first."""
    official = Official(tracker, clip)
    official.click(0, [(35, 70)], [1])
    theirs = official.track(0, 3)
    ours = [start(tracker, [StartItem(features[0], SIZE, [VisualPrompt((Point(35, 70),))])])[0][0]]
    ours += follow(tracker, ours[0], features, 3)
    for frame, until in ((3, 4), (4, 6), (6, 8), (8, 12), (12, len(clip) - 1)):
        x, y = 30 + 9 * frame, 70 + 2 * frame
        official.click(frame, [(x, y), (20, 20)], [1, 0])
        theirs[frame:] = official.track(frame, until)
        prompt = VisualPrompt((Point(x, y), Point(20, 20, False)))
        item = CorrectItem(features[frame], SIZE, [ours[frame].state], [prompt], frame)
        corrected = correct(tracker, [item])[0][0]
        ours[frame:] = [corrected, *follow(tracker, corrected, features, until)]
    assert len(ours) == len(theirs) == len(clip)
    for our, their in zip(ours, theirs, strict=True):
        same(our, their)


@torch.inference_mode()
def test_a_track_from_a_mask_equals_the_packages_tracker(
    tracker: Engine, clip: list[Square], features: list[Features]
) -> None:
    side = 16 * TINY.grid
    mask = np.zeros((side, side), dtype=np.bool_)
    mask[60:100, 20:60] = True
    official = Official(tracker, clip).predictor
    found: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    item = StartItem(features[0], SIZE, [MaskPrompt.of(mask)])
    ours = start(tracker, [item])[0][0]
    cached = features_of(tracker, clip)
    for frame in range(len(clip)):
        _, seen = cached[frame]
        maps, positions = seen["backbone_fpn"], seen["vision_pos_enc"]
        out = official.track_step(
            frame,
            frame == 0,
            [one.flatten(2).permute(2, 0, 1) for one in maps],
            [one.flatten(2).permute(2, 0, 1) for one in positions],
            [tuple(one.shape[-2:]) for one in maps],
            None,
            None,
            torch.from_numpy(mask)[None, None].float() if frame == 0 else None,
            found,
            len(clip),
        )
        out["maskmem_features"] = out["maskmem_features"].bfloat16()  # as the predictor keeps them
        found["cond_frame_outputs" if frame == 0 else "non_cond_frame_outputs"][frame] = out
        if frame:
            ours = step(tracker, [StepItem(features[frame], [ours.state], frame)])[0][0]
            same(ours, (out["pred_masks"][0, 0], out["object_score_logits"][0, 0].item()))
        else:
            expected = torch.nn.functional.interpolate(
                torch.from_numpy(mask)[None, None].float(), ours.mask_logits.shape
            )
            assert ((ours.mask_logits > 0) == (expected[0, 0] > 0)).all()
