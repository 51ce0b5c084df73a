from typing import Any

import numpy as np
import pytest

from sam3_engine.prompt_forms import Sam3Prompt, centre_box, corner_box, visual_prompts
from sam3_engine.types import ConceptPrompt, Point, VisualPrompt

XYWH = {"x": 100, "y": 50, "width": 20, "height": 10}


def test_a_concept_box_is_placed_by_its_corner_and_a_visual_one_by_its_centre() -> None:
    assert corner_box(XYWH) == (100, 50, 120, 60)
    assert centre_box(XYWH) == (90, 45, 110, 55)


def test_a_box_by_two_corners_in_any_order() -> None:
    assert corner_box({"x0": 9, "y0": 2, "x1": 5, "y1": 8}) == (5, 2, 9, 8)


@pytest.mark.parametrize("box", [{}, {"x": 1, "y": 2}, {"x0": 1, "y0": 2, "x1": 3, "width": 4}])
def test_a_box_of_no_known_form(box: dict[str, float]) -> None:
    for parse in (corner_box, centre_box):
        with pytest.raises(ValueError, match="a box needs"):
            parse(box)


def test_concept_prompts() -> None:
    assert Sam3Prompt(type="text", text=" star ").concept(0.5) == ConceptPrompt("star")
    assert Sam3Prompt(text="star", output_prob_thresh=0.0).concept(0.5) == ConceptPrompt("star", (), (), 0.0)
    both = Sam3Prompt("visual", "star", [XYWH, XYWH], [1, 0])
    assert both.concept(0.3) == ConceptPrompt("star", ((100, 50, 120, 60),) * 2, (True, False), 0.3)
    assert Sam3Prompt(boxes=[XYWH]).concept(0.5).box_labels == (True,), "boxes without labels are examples"


def test_a_concept_prompt_may_be_a_dict() -> None:
    assert Sam3Prompt.of({"type": "text", "text": "star"}) == Sam3Prompt("text", "star")
    with pytest.raises(TypeError, match="txet"):
        Sam3Prompt.of({"txet": "star"})


@pytest.mark.parametrize(
    "prompt", [Sam3Prompt(), Sam3Prompt(text="  "), Sam3Prompt(boxes=[XYWH], box_labels=[1, 0])]
)
def test_concept_prompts_without_sense(prompt: Sam3Prompt) -> None:
    with pytest.raises(ValueError, match="a concept prompt needs"):
        prompt.concept(0.5)


CLICK = {"points": [{"x": 1, "y": 2, "positive": True}, {"x": 3, "y": 4, "positive": False}]}
CLICKED = VisualPrompt((Point(1, 2), Point(3, 4, False)))


@pytest.mark.parametrize(
    "prompts", [CLICK, [CLICK], {"prompts": [CLICK]}, {"prompts": CLICK}, CLICKED, [CLICKED], (CLICK,)]
)
def test_one_visual_prompt_in_every_form(prompts: Any) -> None:
    assert visual_prompts(prompts) == [CLICKED]


def test_visual_prompts_keep_their_order() -> None:
    parsed = visual_prompts({"prompts": [{"box": XYWH}, CLICK, {"box": XYWH, "points": CLICK["points"]}]})
    box = (90, 45, 110, 55)
    assert parsed == [VisualPrompt(box=box), CLICKED, VisualPrompt(CLICKED.points, box)]


@pytest.mark.parametrize(
    "prompts", [None, [], {}, {"prompts": []}, {"prompts": None}, [{}], {"points": None, "box": None}]
)
def test_a_call_without_prompts_becomes_one_empty_prompt(prompts: Any) -> None:
    assert visual_prompts(prompts) == [VisualPrompt()]


def test_a_click_is_positive_unless_said_otherwise() -> None:
    assert visual_prompts({"points": [{"x": 1, "y": 2}]})[0].points == (Point(1, 2, True),)


@pytest.mark.parametrize("prompts", [["click"], [3], "click"])
def test_visual_prompts_of_no_known_form(prompts: Any) -> None:
    with pytest.raises(ValueError, match="expected a prompt"):
        visual_prompts(prompts)


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 1, 8, 8)])
def test_earlier_logits_go_to_their_prompts(shape: tuple[int, ...]) -> None:
    logits = np.arange(128, dtype=np.float64).reshape(shape)
    first, second = visual_prompts([CLICK, {"box": XYWH}], logits)
    assert first.points == CLICKED.points
    assert first.previous_logits is not None
    assert second.previous_logits is not None
    assert first.previous_logits.dtype == np.float32
    assert np.array_equal(second.previous_logits, logits.reshape(2, 8, 8)[1])


def test_earlier_logits_of_a_single_prompt() -> None:
    (prompt,) = visual_prompts(CLICK, np.zeros((8, 8)))
    assert prompt.previous_logits is not None
    assert prompt.previous_logits.shape == (8, 8)


@pytest.mark.parametrize("shape", [(8,), (3, 8, 8), (8, 8)])
def test_earlier_logits_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="mask_input"):
        visual_prompts([CLICK, CLICK], np.zeros(shape))
