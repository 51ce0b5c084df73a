"""Drawn images with many hands, sizes and grounds: they show the objects of their labels."""

import ast
import random
from pathlib import Path

import numpy as np
import pytest

import training.held_out
import training.varied
from sam3_engine.types import ImageSize
from training.concepts import COLOURS, NO_COLOUR, SHAPES, Concept
from training.held_out import draw_held_out
from training.labelled import GROUND, Drawing, drawing
from training.samples import absent_text, exemplar, matching, one_click, present_text, several_clicks
from training.varied import draw_crowded, draw_varied

DRAWN = {
    "varied": [draw_varied(seed) for seed in range(40)],
    "crowded": [draw_crowded(seed) for seed in range(12)],
    "held out": [draw_held_out(seed) for seed in range(25)],
}
MOST = {"varied": 12, "crowded": 25, "held out": 12}
ALL = [scene for scenes in DRAWN.values() for scene in scenes]
PROGRAMS = {"varied": draw_varied, "crowded": draw_crowded, "held out": draw_held_out}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_seed_is_a_drawing(name: str) -> None:
    for seed in range(6):
        again = PROGRAMS[name](seed)
        assert (again.pixels == DRAWN[name][seed].pixels).all()
        assert (again.owners == DRAWN[name][seed].owners).all()
        assert again.shapes == DRAWN[name][seed].shapes
    assert (
        DRAWN[name][0].pixels.shape != DRAWN[name][1].pixels.shape
        or (DRAWN[name][0].pixels != DRAWN[name][1].pixels).any()
    )


@pytest.mark.parametrize(("name", "scene"), [(name, scene) for name in DRAWN for scene in DRAWN[name]])
def test_objects_are_few_and_named_and_their_visible_parts_apart(name: str, scene: Drawing) -> None:
    assert 1 <= len(scene.shapes) <= MOST[name]
    assert {shape.shape for shape in scene.shapes} <= set(SHAPES)
    assert {shape.colour for shape in scene.shapes} <= {*COLOURS, NO_COLOUR}
    assert set(np.unique(scene.owners)) - {GROUND} == set(range(len(scene.shapes)))
    height, width = scene.owners.shape
    assert 0.49 <= width / height <= 2.05
    masks = [scene.mask(index, scene.size) for index in range(len(scene.shapes))]
    assert np.sum(masks, axis=0).max() == 1
    for shape, mask in zip(scene.shapes, masks, strict=True):
        rows, columns = np.nonzero(mask)
        assert shape.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.mark.parametrize("name", ["varied", "held out"])
def test_every_shape_and_colour_is_drawn_in_many_sizes(name: str) -> None:
    shapes = [(scene, index) for scene in DRAWN[name] for index in range(len(scene.shapes))]
    assert {scene.shapes[index].shape for scene, index in shapes} == set(SHAPES)
    assert {scene.shapes[index].colour for scene, index in shapes} >= set(COLOURS)
    shares = [scene.mask(index, scene.size).mean() ** 0.5 for scene, index in shapes]
    assert min(shares) < 0.08
    assert max(shares) > 0.25


@pytest.mark.parametrize("scene", ALL)
def test_prompts_on_a_drawing_mean_what_they_say(scene: Drawing) -> None:
    rng = random.Random(0)
    assert present_text(scene, rng).targets
    assert absent_text(scene, rng).targets == ()
    assert exemplar(scene, rng).targets
    for index in range(len(scene.shapes)):
        (click,) = one_click(scene, index, rng).points
        assert scene.owners[int(click.y), int(click.x)] == index
        positives = [point for point in several_clicks(scene, index, 2, 2, rng).points if point.positive]
        assert [scene.owners[int(point.y), int(point.x)] for point in positives] == [index, index]


def test_a_crowded_scene_has_many_small_objects() -> None:
    crowds, others = DRAWN["crowded"], DRAWN["varied"]
    number = [np.mean([len(scene.shapes) for scene in scenes]) for scenes in (crowds, others)]
    assert number[0] > 2 * number[1]
    size = [
        np.mean(
            [scene.mask(index, scene.size).mean() for scene in scenes for index in range(len(scene.shapes))]
        )
        for scenes in (crowds, others)
    ]
    assert size[0] < size[1] / 2


def test_a_black_circle_is_a_circle_and_of_no_colour() -> None:
    pixels, owners = np.full((40, 40, 3), 255, np.uint8), np.full((40, 40), GROUND, np.int8)
    owners[10:30, 10:30] = 0
    scene = drawing(pixels, owners, [(NO_COLOUR, "circle")])
    assert matching(scene, Concept(None, "circle")) == (0,)
    assert not any(matching(scene, Concept(colour, None)) for colour in COLOURS)
    texts = {present_text(scene, random.Random(seed)).prompt.text for seed in range(60)}
    assert texts == {"circle", "a circle", "circles"}


def test_a_hidden_object_is_refused() -> None:
    with pytest.raises(ValueError, match=r"object 1 \(red star\) is hidden"):
        drawing(
            np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.int8), [("red", "circle"), ("red", "star")]
        )


def test_coverage_and_masks_follow_the_size_that_is_asked_for() -> None:
    owners = np.full((20, 40), GROUND, np.int8)
    owners[:10, :20] = 0
    scene = drawing(np.zeros((20, 40, 3), np.uint8), owners, [("red", "square")])
    assert (scene.coverage(0, 4) == np.pad(np.ones((2, 2)), ((0, 2), (0, 2)))).all()
    assert scene.mask(0, ImageSize(40, 80)).sum() == 20 * 40
    assert scene.picture(ImageSize(8, 8)).shape == (8, 8, 3)


def test_the_held_out_set_shares_no_drawing_code_with_training() -> None:
    tree = ast.parse(Path(training.held_out.__file__).read_text())
    used = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in used if name and name.startswith("training")} == {
        "training.concepts",
        "training.labelled",
    }
    assert "cv2" not in {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    for path in Path(training.varied.__file__).parent.glob("*.py"):
        assert "held_out" not in path.read_text()
