import pytest

from sam3_engine.prompt_values import check_inside
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt

SIZE = ImageSize(height=300, width=400)


@pytest.mark.parametrize("place", [(0, 0), (400, 300), (-0.5, 10), (400.9, 10), (10, -1), (399, 301)])
def test_a_point_on_the_edge_is_in_the_image(place: tuple[float, float]) -> None:
    check_inside([VisualPrompt((Point(*place),))], SIZE)


@pytest.mark.parametrize("place", [(46000, 190), (-2, 10), (10, 302), (10, -46000)])
@pytest.mark.parametrize("positive", [True, False])
def test_a_point_beside_the_image_is_refused(place: tuple[float, float], positive: bool) -> None:
    with pytest.raises(
        ValueError, match=r"the point \(.*\) lies outside the image, which has 400 x 300 pixels"
    ):
        check_inside([VisualPrompt(), VisualPrompt((Point(1, 1), Point(*place, positive)))], SIZE)


def test_a_box_may_reach_over_the_edge_but_not_miss_the_image() -> None:
    over, beside = (-50.0, -50.0, 20.0, 20.0), (500.0, 10.0, 600.0, 20.0)
    for prompt in (VisualPrompt(box=over), ConceptPrompt(None, (over,), (True,))):
        check_inside([prompt], SIZE)
    for prompt in (VisualPrompt(box=beside), ConceptPrompt("star", (over, beside), (True, False))):
        with pytest.raises(ValueError, match=r"the box from \(500, 10\) to \(600, 20\) lies outside"):
            check_inside([prompt], SIZE)


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (0, 5, 0, 20), (399, 299, 399, 299), (5, 0, 20, 0)])
def test_a_box_without_a_size_lies_where_its_corner_does(box: tuple[float, float, float, float]) -> None:
    for prompt in (VisualPrompt(box=box), ConceptPrompt(None, (box,), (True,))):
        check_inside([prompt], SIZE)


@pytest.mark.parametrize("box", [(400, 10, 400, 10), (-1, 5, -1, 20), (-5, 0, 0, 0)])
def test_a_box_without_a_size_beside_the_image_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="lies outside the image"):
        check_inside([VisualPrompt(box=box)], SIZE)


@pytest.mark.parametrize("box", [(-5, -5, -1, -1), (-5, -5, 0, 0), (400, 10, 401, 20), (10, 300, 20, 310)])
def test_rounding_is_for_points_and_not_for_boxes(box: tuple[float, float, float, float]) -> None:
    for prompt in (VisualPrompt(box=box), ConceptPrompt(None, (box,), (True,))):
        with pytest.raises(ValueError, match="lies outside the image"):
            check_inside([prompt], SIZE)
