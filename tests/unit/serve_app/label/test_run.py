import json
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from serve_app.label.choosing import Split
from serve_app.label.classes import parse_classes
from serve_app.label.dataset import Dataset, OtherLabels
from serve_app.label.labeller import ModelChoice
from serve_app.label.labelling import Labelling
from serve_app.label.lists import SourceImage
from serve_app.label.objects import Rules
from serve_app.label.run import FAILED, NothingLabelled, Results, Run
from serve_app.label.sources import Listing
from tests.support.labels import found, row, table

LABELLING = Labelling(parse_classes(["cat", "dog"], 0.5), ModelChoice(), Rules())
RESULTS = Results(["coco"], Split())
ALL = [f"/{name}.png" for name in "abcdef"]
CAT = found("cat", np.ones((8, 10), dtype=np.bool_))


def listing(locations: Sequence[str] = ALL) -> Listing:
    return Listing([SourceImage(location, location[1:]) for location in locations])


class Kill(BaseException):
    """The end of the process, in the middle."""


class Pipeline:
    """Labels two images at a time, and notes which. dies_after: so many tables. kills: an image that kills its process,
    with whatever is beside it."""

    def __init__(
        self, dies_after: int | None = None, model: str = "weights-1", kills: str | None = None
    ) -> None:
        self.asked: list[str] = []
        self._kills = kills
        self._dies_after = dies_after
        self._model = model

    def __call__(self, images: Sequence[SourceImage], one_by_one: bool) -> Generator[pa.Table, None, None]:
        size = 1 if one_by_one else 2
        for number, start in enumerate(range(0, len(images), size)):
            if number == self._dies_after:
                raise Kill
            part = images[start : start + size]
            if self._kills in [image.location for image in part]:
                continue
            self.asked += [image.location for image in part]
            yield table(*(row(image.location, [CAT], model=self._model) for image in part))


def run(
    folder: Path, pipeline: Pipeline, labelling: Labelling = LABELLING, images: Sequence[str] = ALL
) -> dict[str, Any]:
    with Dataset.open(folder) as dataset:
        one = Run(dataset, labelling, listing(images), ["sam3-serve", "label"])
        complete = one.label(pipeline, False, lambda _: None) if one.left else True
        return one.finish(complete, RESULTS, lambda _: None)


def test_a_run_too_short_to_tell_its_rate_says_none(tmp_path: Path) -> None:
    assert run(tmp_path, Pipeline(), images=ALL[:1])["images_per_second"] is None


def locations(folder: Path) -> list[str]:
    return [image["location"] for image in Dataset(folder).images()]


def test_a_run_labels_each_image_and_says_how(tmp_path: Path) -> None:
    manifest = run(tmp_path, Pipeline())
    assert sorted(locations(tmp_path)) == ALL
    assert manifest["state"] == "complete"
    assert manifest["weights"] == "weights-1"
    assert manifest["counts"] == {"images": 6, "errors": 0, "objects": {"cat": 6, "dog": 0}}
    assert manifest["labels"]["classes"]["dog"] == {"phrases": ["dog"], "negatives": [], "threshold": 0.5}
    assert manifest == Dataset(tmp_path).manifest()
    assert (tmp_path / "coco" / "annotations" / "instances_train.json").exists()


def test_the_same_command_again_asks_for_nothing_twice_and_forgets_nothing(tmp_path: Path) -> None:
    first, second, third = Pipeline(dies_after=1), Pipeline(dies_after=1), Pipeline()
    for pipeline in (first, second):
        with pytest.raises(Kill):
            run(tmp_path, pipeline)
    run(tmp_path, third)
    asked = [*first.asked, *second.asked, *third.asked]
    assert sorted(asked) == sorted(locations(tmp_path)) == ALL
    again = Pipeline()
    run(tmp_path, again)
    assert again.asked == []


def test_new_images_of_the_same_sources_are_labelled_too(tmp_path: Path) -> None:
    run(tmp_path, Pipeline(), images=ALL[:3])
    more = Pipeline()
    manifest = run(tmp_path, more)
    assert more.asked == ALL[3:]
    assert manifest["counts"]["images"] == 6


@pytest.mark.parametrize(
    ("classes", "rules", "model", "named"),
    [
        (["cat @0.4", "dog"], Rules(), "tiny", "'cat': threshold 0.5 before, 0.4 now"),
        (["cat: cat | kitten", "dog"], Rules(), "tiny", "'cat': phrases cat before, cat | kitten now"),
        (["cat", "dog: dog | !wolf"], Rules(), "tiny", "'dog': negatives none before, wolf now"),
        (["cat", "dog", "cow"], Rules(), "tiny", "'cow' is new"),
        (["cat"], Rules(), "tiny", "'dog' is not there any more"),
        (["dog", "cat"], Rules(), "tiny", "order of the classes"),
        (["cat", "dog"], Rules(nms=None), "tiny", "nms: 0.7 before, off now"),
        (["cat", "dog"], Rules(smallest=9), "tiny", "smallest: 0 before, 9 now"),
        (["cat", "dog"], Rules(), "sam3", "model: tiny before, sam3 now"),
    ],
)
def test_labels_of_another_kind_are_refused_by_their_name(
    tmp_path: Path, classes: list[str], rules: Rules, model: str, named: str
) -> None:
    run(tmp_path, Pipeline(), images=ALL[:2])
    changed = Labelling(parse_classes(classes, 0.5), ModelChoice(model), rules)
    with pytest.raises(OtherLabels, match="--restart") as told:
        run(tmp_path, Pipeline(), changed)
    assert named in str(told.value)
    assert len(str(told.value).splitlines()) == 3  # no other difference is named
    assert locations(tmp_path) == ALL[:2]


def test_what_only_changes_the_speed_is_no_other_label(tmp_path: Path) -> None:
    run(tmp_path, Pipeline(), images=ALL[:2])
    faster = replace(LABELLING, choice=ModelChoice(device="cpu", threads=8, compile=True))
    assert run(tmp_path, Pipeline(), faster)["counts"]["images"] == 6


def test_other_weights_are_noticed_before_anything_is_written(tmp_path: Path) -> None:
    run(tmp_path, Pipeline(), images=ALL[:2])
    with pytest.raises(OtherLabels, match="weights-1 before, weights-2 now"):
        run(tmp_path, Pipeline(model="weights-2"))
    assert locations(tmp_path) == ALL[:2]


def test_images_that_could_not_be_read_are_tried_again(tmp_path: Path) -> None:
    def unreadable(images: Sequence[SourceImage], one_by_one: bool) -> Generator[pa.Table, None, None]:
        yield table(*(row(image.location, error="gone") for image in images))

    with Dataset.open(tmp_path) as dataset:
        one = Run(dataset, LABELLING, listing(ALL[:1]), [])
        one.label(unreadable, False, lambda _: None)
        assert one.finish(True, RESULTS, lambda _: None)["counts"]["errors"] == 1
    assert run(tmp_path, Pipeline(), images=ALL[:1])["counts"]["errors"] == 0
    assert (tmp_path / "errors.jsonl").read_text() == ""


def test_an_image_that_kills_its_process_is_an_error_and_costs_no_other(tmp_path: Path) -> None:
    manifest = run(tmp_path, Pipeline(kills="/c.png"))
    assert sorted(locations(tmp_path)) == [image for image in ALL if image != "/c.png"]
    assert manifest["state"] == "complete"
    assert manifest["counts"]["errors"] == 1
    (line,) = (tmp_path / "errors.jsonl").read_text().splitlines()
    assert json.loads(line) == {"image": "/c.png", "error": FAILED}


def test_a_run_in_which_each_image_fails_blames_none(tmp_path: Path) -> None:
    with pytest.raises(NothingLabelled):
        run(tmp_path, Pipeline(kills="/a.png"), images=["/a.png"])
    assert list((tmp_path / "parts").iterdir()) == []
