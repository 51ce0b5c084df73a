import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serve_app.label.catalogue import Catalogue
from serve_app.label.choosing import Split
from serve_app.label.dataset import Dataset
from serve_app.label.figures import MOST, SHOWN, figures
from serve_app.label.report import write_report
from tests.support.labels import found, row, table

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
CLASSES = ["cat", "<b>dog</b>"]
MANIFEST = {
    "labels": {"model": "tiny", "classes": {name: {"threshold": 0.5} for name in CLASSES}},
    "counts": {"errors": 3},
}


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """Images of ever less sure cats; three without an object, of which two look alike; one whose file is gone."""
    mask = np.zeros((60, 80), dtype=np.bool_)
    mask[:30, :40] = True
    Image.new("RGB", (80, 60), "white").save(tmp_path / "white.png")
    rows = []
    for number in range(SHOWN + 20):
        path = tmp_path / f"{number:03d}.png"
        path.symlink_to(tmp_path / "white.png")
        cat = found("cat", mask, 0.95 - number / 1000)
        rows.append({**row(str(path), [cat], size=(60, 80)), "look": (number * 0x9E3779B97F4A7C15) % 2**64})
    rows += [
        {**row("/no/1.png", size=(60, 80)), "look": 0xFF00_0000_0000_0000},
        {**row("/no/2.png", size=(60, 80)), "look": 0xFF00_0000_0001_0001},
        {**row("/no/3.png", size=(60, 80)), "look": 0x00FF_0000_0000_1111},
        {**row("/gone.png", [found("<b>dog</b>", mask, 0.5)], size=(60, 80)), "look": 0x1234_5678_1111_2222},
    ]
    with Dataset.open(tmp_path / "set") as dataset:
        dataset.add(table(*rows))
        return Catalogue(dataset, CLASSES, Split())


def test_the_least_sure_images_come_first(catalogue: Catalogue) -> None:
    unsure = figures(catalogue).unsure
    shown = unsure["cat"]
    assert len(shown) == MOST
    scores = [min(one.score for one in image.objects) for image in shown]
    assert scores == sorted(scores)
    assert shown[0].file == f"{SHOWN + 19:03d}.png"
    assert [image.file for image in unsure["<b>dog</b>"]] == ["gone.png"]


def test_objects_are_counted_by_class_score_and_size(catalogue: Catalogue) -> None:
    seen = figures(catalogue)
    assert dict(seen.objects) == {"cat": SHOWN + 20, "<b>dog</b>": 1}
    assert sum(seen.scores["cat"].values()) == SHOWN + 20
    assert dict(seen.scores["<b>dog</b>"]) == {10: 1}
    assert dict(seen.sizes["cat"]) == {2: SHOWN + 20}  # a quarter of the image
    assert (seen.empty, seen.empty_names) == (3, ["1.png", "2.png", "3.png"])


def test_images_that_look_alike_are_named(catalogue: Catalogue) -> None:
    assert figures(catalogue).alike == [("1.png", "2.png")]


def test_the_page_needs_no_other_file_and_says_what_is_there(catalogue: Catalogue, tmp_path: Path) -> None:
    error = {"image": "/odd<.png", "error": "not an image"}
    (tmp_path / "errors.jsonl").write_text(json.dumps(error) + "\n")
    write_report(catalogue, MANIFEST, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|url\(|@import|https?:""", page)
    assert page.count("<img ") == MOST
    assert "<li>/odd&lt;.png: not an image" in page
    assert "<b>dog" not in page
    assert "&lt;b&gt;dog" in page
    assert f"{SHOWN + 24} images, {SHOWN + 21} objects" in page
    assert "1.png and 2.png" in page
    assert page.count("<table>") == page.count('class="wide"><table>'), (
        "a phone scrolls the table, not the page"
    )
    assert "--accent" in page
