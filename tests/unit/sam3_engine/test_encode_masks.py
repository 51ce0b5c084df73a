import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sam3_engine.encode_masks import TRANSFER, concept_instances, encode, visual_instance
from sam3_engine.polygons import to_polygons, to_polygons_with_holes
from sam3_engine.regions import RegionMask, region_mask
from sam3_engine.rle import from_rle
from sam3_engine.types import ImageSize, MaskFormat
from tests.unit.sam3_engine.mask_cases import smooth_logits

# pycocotools.mask.decode knows no numpy 2 yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

SIZE = ImageSize(90, 120)


def detections(logits: list[torch.Tensor], scores: list[float]) -> Any:
    return SimpleNamespace(
        scores=np.array(scores, dtype=np.float32),
        boxes=np.tile(np.array([-16.4, 2, 300, 40], dtype=np.float32), (len(scores), 1)),
        mask_logits=torch.stack(logits) if logits else torch.zeros(0, 32, 32),
    )


def logits_of(seed: int) -> torch.Tensor:
    return smooth_logits(seed, 32, 32)


@pytest.mark.parametrize("mask_format", ["polygon", "polygon_holes", "rle", "binary"])
def test_every_format_tells_of_the_same_mask(mask_format: MaskFormat) -> None:
    logits = logits_of(3)
    region = region_mask(logits, SIZE)
    ((instance,),) = concept_instances([detections([logits], [0.75])], SIZE, mask_format, None)
    assert (instance.score, instance.box, instance.area) == (0.75, region.box, region.area)
    match mask_format:
        case "polygon":
            assert instance.masks == to_polygons(region)
        case "polygon_holes":
            assert instance.masks == to_polygons_with_holes(region)
        case "rle":
            assert np.array_equal(from_rle(instance.masks), region.full())
        case "binary":
            assert instance.masks.dtype == np.bool_
            assert np.array_equal(instance.masks, region.full())


@pytest.mark.parametrize("shift", [-6, 0, 6], ids=["left", "inside", "right"])
def test_a_concepts_box_is_its_masks_own_and_within_the_image(shift: int) -> None:
    logits = torch.full((32, 32), -1.0)
    logits[10:20, max(0, 12 + 2 * shift) : 20 + 2 * shift] = 1.0
    ((instance,),) = concept_instances([detections([logits], [0.75])], SIZE, "binary", None)
    x0, y0, x1, y1 = instance.box
    rows, columns = np.nonzero(instance.masks)
    assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert 0 <= x0 < x1 <= SIZE.width
    assert instance.area == instance.masks.sum()


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_a_concept_without_a_pixel_is_no_instance(threshold: float | None) -> None:
    found = [detections([logits_of(1), torch.full((32, 32), -1.0), logits_of(2)], [0.9, 0.8, 0.6])]
    (instances,) = concept_instances(found, SIZE, "polygon", threshold)
    assert [round(instance.score, 3) for instance in instances] == [0.9, 0.6]
    assert all(instance.area for instance in instances)


def test_prompts_stay_apart_and_in_order() -> None:
    found = [
        detections([logits_of(1), logits_of(2)], [0.9, 0.6]),
        detections([], []),
        detections([logits_of(4)], [0.8]),
    ]
    instances = concept_instances(found, SIZE, "rle", None)
    assert [[round(instance.score, 3) for instance in prompt] for prompt in instances] == [
        [0.9, 0.6],
        [],
        [0.8],
    ]
    json.dumps([[instance.masks, instance.box, instance.area] for prompt in instances for instance in prompt])


@pytest.mark.parametrize("mask_format", ["polygon", "rle"])
def test_nms_reaches_across_prompts(mask_format: MaskFormat) -> None:
    same, other = logits_of(1), -logits_of(1)
    found = [detections([same], [0.7]), detections([same, other], [0.9, 0.6])]
    instances = concept_instances(found, SIZE, mask_format, 0.5)
    assert [[round(instance.score, 3) for instance in prompt] for prompt in instances] == [[], [0.9, 0.6]]


def test_more_instances_than_leave_the_device_at_once() -> None:
    logits = [logits_of(seed) for seed in range(2 * TRANSFER + 1)]
    scores = np.linspace(1, 0, len(logits)).tolist()
    (instances,) = concept_instances([detections(logits, scores)], SIZE, "rle", None)
    assert [instance.area for instance in instances] == [region_mask(one, SIZE).area for one in logits]


def test_a_visual_mask_includes_the_threshold_and_has_its_own_box() -> None:
    logits = torch.full((32, 32), -1.0)
    logits[8:16, 8:24] = 0.0
    low_res = logits.numpy()
    mask: Any = SimpleNamespace(score=0.5, mask_logits=logits.to(torch.bfloat16), low_res_logits=low_res)
    instance = visual_instance(mask, SIZE, "binary")
    expected = region_mask(logits, SIZE, inclusive=True)
    assert np.array_equal(instance.masks, expected.full())
    assert instance.area == expected.area > 0
    assert instance.box == expected.box
    assert instance.low_res_logits is low_res


def test_an_unknown_format_is_refused() -> None:
    region = RegionMask.from_full(np.ones((2, 2), dtype=np.bool_))
    with pytest.raises(ValueError, match="'bitmap'"):
        encode(region, "bitmap")  # type: ignore[arg-type]
