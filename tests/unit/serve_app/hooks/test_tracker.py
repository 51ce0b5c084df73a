"""The tracker of the hooks with the model in its own process."""

import numpy as np
import pytest

from serve_app.hooks.model import ModelError
from serve_app.hooks.tracker import tracker_of
from tests.support.clips import RADIUS, blue_at, frame, red_at
from tests.support.scenes import HEIGHT, WIDTH, box_iou


def around(place: tuple[int, int]) -> tuple[float, float, float, float]:
    x, y = place
    return (x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)


def test_objects_are_followed_each_for_itself() -> None:
    tracker = tracker_of()
    first, second, third = (tracker.picture(frame(number)) for number in range(3))
    red, blue = tracker.begin(first, around(red_at(0))), tracker.begin(first, around(blue_at(0)))
    for number, picture in ((1, second), (2, third)):
        found = tracker.follow(red, picture)
        assert found is not None
        assert found.mask.shape == (HEIGHT, WIDTH)
        assert found.mask.dtype == np.bool_
        assert box_iou(found.box(), around(red_at(number))) > 0.7
    later = tracker.follow(blue, second)
    assert later is not None
    assert box_iou(later.box(), around(blue_at(1))) > 0.7
    with pytest.raises(ModelError, match="outside"):
        tracker.begin(first, (900, 900, 950, 950))
