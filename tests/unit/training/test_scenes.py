"""Drawn scenes: reproducible, exact and free of overlaps, or the figures measured on them mean nothing."""

import random

import numpy as np
import pytest

from sam3_engine.types import ImageSize
from training.concepts import COLOURS, HUES, SHAPES
from training.samples import (
    absent_text,
    box_prompt,
    correction,
    exemplar,
    matching,
    one_click,
    present_text,
    several_clicks,
)
from training.scenes import Scene, draw_scene, render

SCENES = [draw_scene(seed) for seed in range(40)]


def truth(scene: Scene) -> list[np.ndarray]:
    return [scene.mask(index, scene.size) for index in range(len(scene.shapes))]


def test_a_seed_is_a_scene() -> None:
    again = draw_scene(11, ImageSize(100, 140))
    first = draw_scene(11, ImageSize(100, 140))
    assert [shape.box for shape in first.shapes] == [shape.box for shape in again.shapes]
    assert (render(first) == render(again)).all()
    assert (render(first) != render(draw_scene(12, ImageSize(100, 140)))).any()


@pytest.mark.parametrize("scene", SCENES)
def test_shapes_are_inside_and_apart(scene: Scene) -> None:
    assert 1 <= len(scene.shapes) <= 7
    masks = truth(scene)
    assert np.sum(masks, axis=0).max() == 1
    for shape, mask in zip(scene.shapes, masks, strict=True):
        assert mask.any()
        x0, y0, x1, y1 = shape.box
        assert x0 >= 0 <= y0
        assert x1 <= scene.size.width
        assert y1 <= scene.size.height


@pytest.mark.parametrize("scene", SCENES[:10])
def test_the_picture_shows_what_the_masks_say(scene: Scene) -> None:
    picture = render(scene).astype(float)
    for shape, mask in zip(scene.shapes, truth(scene), strict=True):
        shown = np.median(picture[mask], axis=0)
        assert np.abs(shown - np.array(shape.rgb)).max() < 25


def test_coverage_is_the_mask_in_cells() -> None:
    for scene in SCENES[:10]:
        coarse = scene.coverage(0, 64)
        assert coarse.shape == (64, 64)
        assert coarse.min() >= 0
        assert coarse.max() == 1
        # Polygons are filled up to and with their edge, so the masks of two renderings differ by a rim of half a pixel.
        rim = np.ptp(scene.shapes[0].outline, axis=0).sum() * 4
        assert abs(coarse.mean() - truth(scene)[0].mean()) * scene.size.width * scene.size.height < rim * 0.5


def test_every_kind_is_drawn() -> None:
    drawn = {(shape.colour, shape.shape) for seed in range(400) for shape in draw_scene(seed).shapes}
    assert drawn == {(colour, shape) for colour in COLOURS for shape in SHAPES}
    assert set(HUES) == set(COLOURS)


@pytest.mark.parametrize("scene", SCENES)
def test_prompts_mean_what_they_say(scene: Scene) -> None:
    rng = random.Random(0)
    assert present_text(scene, rng).targets
    assert absent_text(scene, rng).targets == ()
    sample = exemplar(scene, rng)
    positive = [
        box for box, label in zip(sample.prompt.boxes, sample.prompt.box_labels, strict=True) if label
    ]
    assert sample.targets
    assert positive or sample.prompt.text
    masks = truth(scene)
    for index in range(len(scene.shapes)):
        x, y, inside = one_click(scene, index, rng).points[0]
        assert inside
        assert masks[index][int(y), int(x)]
        for point in several_clicks(scene, index, 2, 2, rng).points:
            row = min(int(point.y), scene.size.height - 1)
            column = min(int(point.x), scene.size.width - 1)
            assert masks[index][row, column] == point.positive
        assert box_prompt(scene, index, rng).box is not None


def test_matching_counts_colour_and_shape() -> None:
    from training.concepts import Concept

    scene = SCENES[0]
    shape = scene.shapes[0]
    exact = matching(scene, Concept(shape.colour, shape.shape))
    assert 0 in exact
    assert set(exact) == set(matching(scene, Concept(shape.colour, None))) & set(
        matching(scene, Concept(None, shape.shape))
    )


def test_a_correction_is_where_the_mask_is_wrong() -> None:
    scene = SCENES[1]
    target = scene.coverage(0, 64) > 0.5
    point = correction(scene, target, target, random.Random(0))
    assert point is not None
    assert point.positive
    assert correction(scene, target & ~target, target, random.Random(0)) is None
