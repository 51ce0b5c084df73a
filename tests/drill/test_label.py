"""Two thousand drawn scenes become a data set, with two kills on the way."""

from pathlib import Path

import pytest

from drills.labelling import drill

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def test_labels_of_drawn_scenes_are_near_their_exact_masks_after_two_kills(tmp_path: Path) -> None:
    outcome = drill(tmp_path, images=2000, kills=2)
    print(outcome)
    assert outcome.ap50 > 0.8
