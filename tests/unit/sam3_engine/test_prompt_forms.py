from typing import Any

import numpy as np
import pytest
import torch

from sam3_engine.prompt_forms import Sam3Prompt, centre_box, concept_prompts, corner_box, visual_prompts
from sam3_engine.types import ConceptPrompt, Point, VisualPrompt

ANY_PROMPT: Any = Sam3Prompt
ANY_VISUAL: Any = VisualPrompt
ANY_POINT: Any = Point
"""Classes without their types, for values that these do not allow."""
XYWH = {"x": 100, "y": 50, "width": 20, "height": 10}


def test_a_concept_box_is_placed_by_its_corner_and_a_visual_one_by_its_centre() -> None:
    assert corner_box(XYWH) == (100, 50, 120, 60)
    assert centre_box(XYWH) == (90, 45, 110, 55)


def test_a_box_by_two_corners_in_any_order() -> None:
    assert corner_box({"x0": 9, "y0": 2, "x1": 5, "y1": 8}) == (5, 2, 9, 8)


@pytest.mark.parametrize("box", [{}, {"x": 1, "y": 2}, {"x0": 1, "y0": 2, "x1": 3, "width": 4}])
def test_a_box_of_no_known_form(box: dict[str, float]) -> None:
    for parse in (corner_box, centre_box):
        with pytest.raises(ValueError, match="a box is"):
            parse(box)


def test_concept_prompts() -> None:
    assert Sam3Prompt(type="text", text=" star ").concept(0.5) == ConceptPrompt("star")
    assert Sam3Prompt(text="star", output_prob_thresh=0.0).concept(0.5) == ConceptPrompt("star", (), (), 0.0)
    both = Sam3Prompt("visual", "star", [XYWH, XYWH], [1, 0])
    assert both.concept(0.3) == ConceptPrompt("star", ((100, 50, 120, 60),) * 2, (True, False), 0.3)
    assert Sam3Prompt(boxes=[XYWH]).concept(0.5).box_labels == (True,), "boxes without labels are examples"


def test_a_concept_prompt_may_be_a_dict() -> None:
    assert Sam3Prompt.of({"type": "text", "text": "star"}) == Sam3Prompt("text", "star")
    with pytest.raises(ValueError, match="it has no 'txet'"):
        Sam3Prompt.of({"txet": "star"})


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        (ANY_PROMPT(), "a concept prompt needs a text"),
        (ANY_PROMPT(text="  "), "a concept prompt needs a text"),
        (ANY_PROMPT("visual", "star"), "a visual prompt needs at least one box"),
        (ANY_PROMPT(text=5), "a text is a string, not 5"),
        (ANY_PROMPT(text="a\udcff"), r"a text is not valid UTF-8: its character 2 is '\\udcff'"),
        (ANY_PROMPT(boxes=[XYWH], box_labels=[1, 0]), "one label per box: 2 for 1"),
        (ANY_PROMPT(boxes=[XYWH], box_labels=[-1]), "a label in box_labels is 1, 0, True or False, not -1"),
        (ANY_PROMPT(boxes=[XYWH], box_labels=[2]), "is 1, 0, True or False, not 2"),
        (ANY_PROMPT(boxes=[XYWH], box_labels=["false"]), "not 'false'"),
        (ANY_PROMPT(boxes=[XYWH], box_labels=[None]), "not None"),
        (ANY_PROMPT(boxes=[XYWH], box_labels=1), "box_labels is a list, not 1"),
        (ANY_PROMPT(boxes=[(1, 2, 3, 4)]), r"a box is .* not \(1, 2, 3, 4\)"),
        (ANY_PROMPT(boxes=[1, 2, 3, 4]), "a box is .* not 1"),
        (ANY_PROMPT(boxes=np.ones((1, 4))), "a box is .* not array"),
        (ANY_PROMPT(boxes=XYWH), "boxes is a list"),
        (ANY_PROMPT(boxes=[{**XYWH, "x": float("nan")}]), "a box's x is a finite number, not nan"),
        (ANY_PROMPT(boxes=[{**XYWH, "x": "100"}]), "a box's x is a number, not '100'"),
        (ANY_PROMPT(boxes=[{**XYWH, "x": True}]), "a box's x is a number, not True"),
        (ANY_PROMPT(boxes=[{**XYWH, "y": 1e10}]), "far outside every image"),
        (ANY_PROMPT(boxes=[{**XYWH, "width": -1}]), "not below 0"),
        (ANY_PROMPT(boxes=[{**XYWH, "x0": 1, "y0": 1, "x1": 2, "y1": 2}]), "not by both"),
        (ANY_PROMPT(boxes=[{**XYWH, "y1": 2}]), "not by both: this one has x, y, width, height, y1"),
        (ANY_PROMPT(text="star", output_prob_thresh=float("nan")), "output_prob_thresh is a finite number"),
        (ANY_PROMPT(text="star", output_prob_thresh=50), "lies between 0 and 1, not at 50"),
    ],
)
def test_concept_prompts_that_mean_nothing(prompt: Sam3Prompt, meant: str) -> None:
    with pytest.raises(ValueError, match=meant) as raised:
        prompt.concept(0.5)
    assert "\n" not in str(raised.value)


def test_a_call_takes_one_concept_prompt_or_several() -> None:
    for prompts in (
        Sam3Prompt(text="star"),
        {"text": "star"},
        [{"text": "star"}],
        (Sam3Prompt(text="star"),),
    ):
        assert concept_prompts(prompts, 0.5) == [ConceptPrompt("star")]
    for wrong in ("star", ["star"], 5, [], None, [None]):
        with pytest.raises(ValueError, match="prompt"):
            concept_prompts(wrong, 0.5)  # type: ignore[arg-type]


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    for made in (np.float32, np.int64, torch.tensor, np.array):
        box: dict[str, Any] = {"x": made(100), "y": made(50), "width": made(20), "height": made(10)}
        assert corner_box(box) == (100, 50, 120, 60)
    assert ANY_PROMPT(boxes=[XYWH, XYWH], box_labels=np.array([1, 0])).concept(0.5).box_labels == (
        True,
        False,
    )
    assert (
        visual_prompts({"points": [{"x": 1, "y": 2, "positive": np.bool_(False)}]})[0].points[0].positive
        is False
    )


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


@pytest.mark.parametrize(
    ("prompts", "meant"),
    [
        (["click"], "a prompt is .* not 'click'"),
        ([3], "a prompt is .* not 3"),
        ("click", "prompts is a list, not 'click'"),
        (5, "prompts is a list, not 5"),
        ({"pionts": []}, "it has no 'pionts'"),
        ({"points": [(1, 2)]}, r"a point is .* not \(1, 2\)"),
        ({"points": [1, 2]}, "a point is .* not 1"),
        ({"points": {"x": 1, "y": 2}}, "points is a list"),
        ({"points": [{"x": 1}]}, "a point is"),
        ({"points": [{"x": 1, "y": 2, "positve": False}]}, "it has no 'positve'"),
        ({"points": [{"x": 1, "y": 2, "positive": "false"}]}, "a point's positive is .* not 'false'"),
        ({"points": [{"x": 1, "y": 2, "positive": -1}]}, "not -1"),
        ({"points": [{"x": float("inf"), "y": 2}]}, "a point's x is a finite number"),
        ({"box": [1, 2, 3, 4]}, r"a box is .* not \[1, 2, 3, 4\]"),
        ({"box": {}}, "a box is"),
        ({"box": {**XYWH, "height": float("nan")}}, "a box's height is a finite number, not nan"),
        ({"prompts": [CLICK], "points": []}, "a set of prompts is .* it has no 'points'"),
        ({"prompts": {"prompts": [CLICK]}}, "it has no 'prompts'"),
        (ANY_VISUAL((Point(float("nan"), 1),)), "a point's x is a finite number"),
        (ANY_VISUAL((ANY_POINT(1, 2, "false"),)), "a point's positive is .* not 'false'"),
        (ANY_VISUAL((ANY_POINT(1, 2, -1),)), "a point's positive is .* not -1"),
        (ANY_VISUAL(((1, 2),)), r"a point of a VisualPrompt is a Point\(x, y, positive\), not \(1, 2\)"),
        (ANY_VISUAL(5), "points is a list, not 5"),
        (ANY_VISUAL((), (1, 2, 3)), r"a VisualPrompt's box is \(x0, y0, x1, y1\), not \(1, 2, 3\)"),
        (ANY_VISUAL((), XYWH), "a VisualPrompt's box is"),
        (ANY_VISUAL((), "1234"), "a VisualPrompt's box is"),
        (ANY_VISUAL((), (1, 2, 3, "4")), "a box's y1 is a number, not '4'"),
        (ANY_VISUAL((), (500, 300, 400, 100)), "with the top-left corner first, not"),
        (ANY_VISUAL((), None, np.zeros((5, 5))), r"previous_logits .*, \[8, 8\], got \(5, 5\)"),
        (ANY_VISUAL((), None, np.zeros(3)), r"previous_logits .* got \(3,\)"),
        (ANY_VISUAL((), None, np.full((8, 8), np.nan)), "previous_logits .* not finite"),
        (ANY_VISUAL((), None, "x"), "previous_logits .* got 'x'"),
    ],
)
def test_visual_prompts_that_mean_nothing(prompts: Any, meant: str) -> None:
    with pytest.raises(ValueError, match=meant):
        visual_prompts(prompts, side=8)


def test_a_visual_prompt_of_any_numbers_has_the_values_of_its_types() -> None:
    given = ANY_VISUAL([ANY_POINT(np.float32(1), 2, 1)], np.array([1, 2, 3, 4]), np.zeros((8, 8)).tolist())
    (prompt,) = visual_prompts(given, side=8)
    assert prompt.points == (Point(1.0, 2.0, True),)
    assert prompt.points[0].positive is True
    assert prompt.box == (1.0, 2.0, 3.0, 4.0)
    assert prompt.previous_logits is not None
    assert prompt.previous_logits.dtype == np.float32


def test_prompts_that_hold_themselves_are_refused() -> None:
    prompts: dict[str, Any] = {}
    prompts["prompts"] = prompts
    listed: list[Any] = []
    listed.append(listed)
    nested: list[Any] = []
    for _ in range(10_000):
        nested = [nested]
    for wrong in (prompts, listed, nested):
        with pytest.raises(ValueError, match="a prompt is"):
            visual_prompts(wrong)
        with pytest.raises(ValueError, match="a concept prompt is"):
            concept_prompts(wrong, 0.5)


def test_a_concept_prompt_of_the_engine_is_not_one_of_the_sdk() -> None:
    with pytest.raises(ValueError, match=r"a concept prompt is .* not ConceptPrompt"):
        concept_prompts([ConceptPrompt("star")], 0.5)  # type: ignore[list-item]


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


@pytest.mark.parametrize(
    "logits",
    [
        np.full((8, 8), np.nan),
        np.full((8, 8), 1e39),
        np.full((8, 8), 1j),
        [["1"] * 8] * 8,
        "logits",
        [[1, 2], [3]],
        {"a": 1},
        np.zeros((7, 9)),
        np.zeros((0, 8, 8)),
    ],
)
def test_logits_that_no_answer_holds(logits: Any) -> None:
    with pytest.raises(ValueError, match=r"expected mask_input .* one \[8, 8\] for each of 1 prompts"):
        visual_prompts(CLICK, logits, side=8)
