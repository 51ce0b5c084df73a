"""The model behind the hooks."""

from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from sam3_engine.regions import RegionMask
from sam3_engine.rle import to_rle
from serve_app.cli.backends import ConceptAnswer
from serve_app.hooks.model import Model, ModelError, file_of, model_of

# pycocotools.mask.decode knows no numpy 2 yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

MASK = np.zeros((6, 8), dtype=np.bool_)
MASK[1:4, 2:7] = True


class Answers:
    """A backend: one mask for each phrase that is not "nothing", and one for clicks."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.error: Exception | None = None

    def concepts(
        self, content: bytes, prompts: list[dict[str, Any]], threshold: float
    ) -> list[ConceptAnswer]:
        self.asked.append((content, prompts, threshold))
        if self.error:
            raise self.error
        found = [self._one()]
        return [ConceptAnswer([] if one["text"] == "nothing" else found, []) for one in prompts]

    def clicks(self, content: bytes, prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.asked.append((content, prompts))
        if self.error:
            raise self.error
        return [self._one()]

    def _one(self) -> dict[str, Any]:
        return {"confidence": 0.75, "masks": to_rle(RegionMask.from_full(MASK))}


def test_instances_are_listed_by_phrase() -> None:
    answers = Answers()
    nothing, one = Model(answers).concepts(b"file", ["nothing", "star"], 0.25)
    assert nothing == []
    assert one[0].score == 0.75
    assert np.array_equal(one[0].mask, MASK)
    assert one[0].box() == (2, 1, 7, 4)
    assert answers.asked[0][2] == 0.25


def test_clicks_and_a_box_are_one_prompt() -> None:
    answers = Answers()
    found = Model(answers).object(b"file", [(1.0, 2.0)], [(3.0, 4.0)], (0.0, 0.0, 4.0, 2.0))
    assert np.array_equal(found.mask, MASK)
    assert answers.asked[0][1] == [
        {
            "points": [{"x": 1.0, "y": 2.0, "positive": True}, {"x": 3.0, "y": 4.0, "positive": False}],
            "box": {"x": 2.0, "y": 1.0, "width": 4.0, "height": 2.0},
        }
    ]
    with pytest.raises(ModelError, match="a click or a box"):
        Model(answers).object(b"file")


@pytest.mark.parametrize("error", [click.ClickException("no server"), ValueError("no server")])
def test_whatever_goes_wrong_is_one_error(error: Exception) -> None:
    answers = Answers()
    answers.error = error
    with pytest.raises(ModelError, match=r"^no server$"):
        Model(answers).concepts(b"file", ["star"])
    with pytest.raises(ModelError, match=r"^no server$"):
        Model(answers).object(b"file", [(1.0, 1.0)])


def test_a_server_that_is_not_there_is_that_error() -> None:
    model = model_of("http://127.0.0.1:1")
    with pytest.raises(ModelError, match="no sam3-serve"):
        model.concepts(b"file", ["star"])


def test_the_same_picture_is_the_same_file() -> None:
    picture = Image.effect_noise((40, 30), 50).convert("RGB")
    assert file_of(picture) == file_of(picture.copy())


def test_a_mask_without_pixels_has_an_empty_box() -> None:
    from serve_app.hooks.model import Found

    assert Found(0.5, np.zeros((3, 3), dtype=np.bool_)).box() == (0, 0, 0, 0)


def test_a_model_id_is_for_a_server() -> None:
    with pytest.raises(ModelError, match="url"):
        model_of(model_id="pets")
