import numpy as np
import pytest
from PIL import Image

from sam3_engine.draw import PALETTE, LabelledMask, _overlap, _place, concept_colours, draw_instances
from sam3_engine.regions import BoolArray, RegionMask
from tests.unit.sam3_engine.mask_cases import random_mask

GREY = (128, 128, 128)


def square(y: int, x: int, side: int, size: tuple[int, int] = (200, 300)) -> BoolArray:
    mask = np.zeros(size, dtype=np.bool_)
    mask[y : y + side, x : x + side] = True
    return mask


def labelled(mask: BoolArray, concept: str = "star", score: float = 0.9) -> LabelledMask:
    return LabelledMask(concept, score, RegionMask.from_full(mask))


def drawn(*instances: LabelledMask, size: tuple[int, int] = (300, 200)) -> np.ndarray:
    return np.asarray(draw_instances(Image.new("RGB", size, GREY), instances))


def test_the_inside_is_tinted_and_the_rest_is_left_alone() -> None:
    pixels = drawn(labelled(square(80, 100, 60)))
    expected = np.array(GREY) * 0.55 + np.array(PALETTE[0]) * 0.45
    assert np.abs(pixels[110, 130] - expected).max() <= 1
    assert (pixels[:40] == GREY).all()
    assert (pixels[150:] == GREY).all()


def test_the_outline_is_in_the_concepts_colour_with_a_dark_rim() -> None:
    pixels = drawn(labelled(square(80, 100, 60)))
    row = pixels[120, 90:110].astype(int)
    assert (np.abs(row - PALETTE[0]).max(axis=1) <= 2).any()
    assert (row.max(axis=1) < 80).any()


def test_a_hole_stays_untouched() -> None:
    ring = square(60, 80, 100)
    ring[90:130, 110:150] = False
    assert tuple(drawn(labelled(ring))[110, 130]) == GREY


def test_concepts_have_colours_of_their_own() -> None:
    colours = concept_colours(["star", "circle", "star", "square"])
    assert list(colours) == ["star", "circle", "square"]
    assert len(set(colours.values())) == 3
    assert len(concept_colours([str(i) for i in range(50)])) == 50


def test_a_small_instance_is_not_hidden_by_a_large_one() -> None:
    small, large = labelled(square(90, 140, 20), "small"), labelled(square(20, 20, 170), "large")
    both, other_order = drawn(small, large), drawn(large, small)
    assert not np.array_equal(both[100, 150], drawn(large)[100, 150])
    assert not np.array_equal(other_order[100, 150], drawn(large)[100, 150])


def test_a_label_is_written_above_its_instance() -> None:
    pixels = drawn(labelled(square(80, 100, 60)))
    above = pixels[60:78, 100:180].reshape(-1, 3)
    assert (above == PALETTE[0]).all(axis=1).mean() > 0.1
    assert (above.max(axis=1) < 60).any(), "dark text on a light colour"


def test_labels_do_not_cover_each_other() -> None:
    mask = RegionMask.from_full(square(80, 100, 60))
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(4):
        taken.append(_place(mask, 50, 12, (300, 200), taken))
    assert not any(_overlap(a, b) for i, a in enumerate(taken) for b in taken[:i])


@pytest.mark.parametrize(("y", "x"), [(0, 0), (0, 280), (180, 0), (180, 280)])
def test_labels_stay_within_the_image(y: int, x: int) -> None:
    left, top, right, bottom = _place(RegionMask.from_full(square(y, x, 20)), 80, 16, (300, 200), [])
    assert left >= 0
    assert top >= 0
    assert right <= 300
    assert bottom <= 200


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_any_mode_becomes_rgb_and_the_image_itself_is_not_changed(mode: str) -> None:
    image = Image.new(mode, (300, 200))
    before = image.tobytes()
    result = draw_instances(image, [labelled(square(80, 100, 60))])
    assert result.mode == "RGB"
    assert result.size == image.size
    assert image.tobytes() == before


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (1, 400), (600, 2)])
def test_tiny_images(size: tuple[int, int]) -> None:
    for seed in range(6):
        instance = labelled(random_mask(seed, size), "a concept with a rather long name")
        assert drawn(instance, size=size[::-1]).shape == (*size, 3)


def test_nothing_found_leaves_the_image_as_it_is() -> None:
    assert (drawn() == GREY).all()
    assert (drawn(labelled(np.zeros((200, 300), dtype=np.bool_))) == GREY).all()


def test_labels_may_be_in_any_script() -> None:
    drawn(labelled(square(80, 100, 60), "星 ★ étoile"))


def test_masks_of_another_image_are_refused() -> None:
    with pytest.raises(ValueError, match="a mask is for an image of"):
        drawn(labelled(square(1, 1, 1)), size=(10, 10))
