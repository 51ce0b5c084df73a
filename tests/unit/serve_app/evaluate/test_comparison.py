"""Which models and classes are compared, and how the results of several are told."""

import xml.etree.ElementTree as ET
from math import isnan
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from sam3_engine.types import ImageSize
from serve_app.evaluate.candidates import Candidate, candidates
from serve_app.evaluate.comparison import Comparison, compare
from serve_app.evaluate.plot import document
from serve_app.evaluate.questions import questions
from serve_app.evaluate.table import lines
from serve_app.label.classes import LabelClass
from serve_app.label.lists import SourceImage
from serve_app.label.truth import Truth
from tests.support import labels
from tests.support.labels import found, table

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
SIZE = ImageSize(20, 40)
CLASSES = [LabelClass("cat", ("cat",)), LabelClass("<cow & calf>", ("cow",))]


def row(location: str, *objects: Any, **more: Any) -> dict[str, Any]:
    """A row as the pipeline makes it."""
    made: dict[str, Any] = table(labels.row(location, *objects, **more)).to_pylist()[0]
    return made


def bar(x0: int, x1: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.bool_)
    mask[5:15, x0:x1] = True
    return mask


def truth(number: int, *, cats: int = 0, cows: int = 0) -> Truth:
    def some(count: int) -> list[dict[str, Any]]:
        return [
            coco.encode(np.asfortranarray(bar(12 * n, 12 * n + 10), dtype=np.uint8)) for n in range(count)
        ]

    masks = {"cat": some(cats), "<cow & calf>": some(cows)}
    return Truth(SourceImage(f"/{number}.png", f"{number}.png"), masks, {}, SIZE)


TRUTHS = [truth(number, cats=number % 3, cows=number % 2) for number in range(12)]


def answers(share: float) -> dict[str, dict[str, Any]]:
    """Rows of a model that finds this share of the images' cats, and no cow."""
    rows = {}
    for number, one in enumerate(TRUTHS):
        cats = len(one.masks["cat"]) if number < share * len(TRUTHS) else 0
        objects = [found("cat", bar(12 * n, 12 * n + 10)) for n in range(cats)]
        rows[one.image.location] = row(one.image.location, objects, size=SIZE, model=f"weights-{share}")
    return rows


@pytest.fixture(scope="module")
def compared() -> Comparison:
    return compare(TRUTHS, CLASSES, 0.5, {"worse": answers(0.5), "better": answers(1.0)})


def test_each_models_figures_are_of_its_own_answers(compared: Comparison) -> None:
    worse, better = compared.results
    assert better.weights == "weights-1.0"
    assert (better.classes["cat"].f1, better.classes["cat"].ap, better.classes["cat"].cgf1) == pytest.approx(
        (1.0, 1.0, 1.0)
    )
    assert worse.classes["cat"].f1 == pytest.approx(2 * 6 / (6 + 12))
    assert worse.classes["cat"].presence == pytest.approx(8 / 12)
    assert better.classes["<cow & calf>"].f1 == 0.0
    assert better.overall.ap == pytest.approx(0.5), "the mean of the classes"
    assert better.overall.f1 == pytest.approx(2 * 12 / (12 + 18)), "of all objects"


def test_a_difference_beyond_chance_has_a_range_without_zero(compared: Comparison) -> None:
    apart = compared.differences(compared.results[1])
    assert apart["f1"].low > 0
    assert apart["f1"].low <= apart["f1"].value <= apart["f1"].high
    assert isnan(apart["ap"].low)
    same = compared.differences(compared.results[0])
    assert (same["f1"].value, same["f1"].low, same["f1"].high) == (0, 0, 0)


def test_the_table_has_a_line_a_class_and_the_models_side_by_side(compared: Comparison) -> None:
    text = list(lines(compared))
    assert text[0].startswith("A  worse")
    (cat,) = [line for line in text if line.startswith("cat")]
    assert cat.split()[:4] == ["cat", "12", "0.500", "1.000"] or cat.split()[1] == "12"
    assert cat.split()[4:6] == ["0.667", "1.000"]
    assert [line.split()[0] for line in text if line[:3] in ("cat", "all")] == ["cat", "all"]
    assert len({len(line) for line in text if line.startswith(("class", "cat", "all", "<"))}) == 1, "columns"
    assert text[-1].startswith("B against A: AP ")


def test_the_picture_has_a_bar_for_each_model_class_and_figure(compared: Comparison) -> None:
    picture = ET.fromstring(document(compared, ".svg"))
    bars = [bar for bar in picture.iter("{http://www.w3.org/2000/svg}rect") if len(bar)]
    assert len(bars) == 2 * 3 * 4
    widths = {bar[0].text: float(bar.get("width", "nan")) for bar in bars}
    assert widths["cat, F1 1.000"] == pytest.approx(180)
    assert "<cow & calf>, F1 0.000" in widths
    page = document(compared, ".html")
    assert page.startswith("<!doctype html>")
    assert "&lt;cow &amp; calf&gt;" in page


def test_an_image_that_one_model_could_not_be_asked_about_is_no_models() -> None:
    broken = answers(1.0)
    broken["/3.png"] = row("/3.png", error="it is gone")
    turned = answers(1.0)
    turned["/4.png"] = row("/4.png", size=(40, 20))
    compared = compare(TRUTHS, CLASSES, 0.5, {"a": broken, "b": turned})
    assert len(compared.truths) == 10
    assert compared.left_out["/3.png"] == "it is gone"
    assert compared.left_out["/4.png"] == "it has 20 x 40 pixels, and 40 x 20 in the ground truth"
    assert compared.results[0].counts.shape[0] == 10
    with pytest.raises(
        ValueError, match=r"none of the 1 images could be compared, such as /3\.png: it is gone"
    ):
        compare(TRUTHS[3:4], CLASSES, 0.5, {"a": broken})


def test_json_has_null_for_what_nothing_defines() -> None:
    everywhere = [truth(number, cats=1, cows=1) for number in range(2)]
    rows = {one.image.location: row(one.image.location, size=SIZE) for one in everywhere}
    told = compare(everywhere, CLASSES, 0.5, {"a": rows}).document()
    assert told["models"]["a"]["overall"] == {"ap": 0.0, "f1": 0.0, "cgf1": None, "presence": 0.0}
    assert told["classes"]["cat"] == {"phrases": ["cat"], "negatives": [], "objects": 2, "images": 2}


def test_models_are_labelled_by_their_name_their_file_or_as_asked() -> None:
    asked = [
        "tiny",
        "runs/7/checkpoint.pt",
        "mine=hf://me/sam3@v1",
        "https://host/sam3.pt?key=1#sha256=0",
        "b.pt",
    ]
    assert [one.label for one in candidates(asked, served=False)] == [
        "tiny",
        "7/checkpoint.pt",
        "mine",
        "host/sam3.pt?key=1",
        "b.pt",
    ]
    assert candidates(["mine=hf://me/sam3@v1"], served=False)[0].where == "hf://me/sam3@v1"
    assert candidates(["me/fine/2"], served=True) == [Candidate("me/fine/2", "me/fine/2")]
    assert candidates([], served=True)[0].where is None


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ([], "1 to 8 models"),
        (["a.pt"] * 9, "1 to 8 models"),
        (["x/best.pt", "y/best.pt"], "two models are called 'best.pt'"),
        (["a="], "names no model"),
        ([""], "names no model"),
    ],
)
def test_models_that_cannot_be_told_apart(asked: list[str], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        candidates(asked, served=False)


def named(**objects: int) -> list[Truth]:
    one = list(truth(0, cats=1).masks["cat"])
    return [Truth(SourceImage("/a.png", "a.png"), {name: one * count for name, count in objects.items()})]


def test_names_of_classes_are_the_phrases_unless_others_are_given() -> None:
    notes: list[str] = []
    asked = questions(named(cat=1, traffic_light=2, root=0), ["cat=cat | kitten | !toy cat"], notes.append)
    assert [one.line() for one in asked] == [
        "cat: cat | kitten | !toy cat @0.05",
        "traffic_light: traffic light @0.05",
    ]
    assert any("'root' has no annotation" in note for note in notes)
    assert any("'traffic_light' is asked for as 'traffic light'" in note for note in notes)
    assert [one.name for one in questions(named(cat=1, root=0), ["root=fruit"], notes.append)] == [
        "cat",
        "root",
    ]


@pytest.mark.parametrize(
    ("prompt", "what"),
    [
        ("cat", "write CLASS=WORDS"),
        ("cat=", "write CLASS=WORDS"),
        ("dog=dog", "no class 'dog' but cat"),
        ("cat=a | a", "names a phrase twice"),
    ],
)
def test_wrong_words(prompt: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        questions(named(cat=1), [prompt], lambda _: None)


def test_a_truth_without_annotations() -> None:
    with pytest.raises(ValueError, match="has no annotation"):
        questions(named(cat=0), [], lambda _: None)
