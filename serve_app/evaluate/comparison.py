"""The results of several models on the same images, side by side.

The difference of two models is told with a range: of many draws of the images with repetition (the bootstrap), nine of
ten give a difference within it. A range that holds zero means that other images might have favoured the other model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isnan
from typing import Any

import numpy as np

from serve_app.evaluate.counting import WANTED, Counts, count
from serve_app.evaluate.figures import Figures, Values, average_precision, cgf1, f1, figures, presence
from serve_app.label.classes import LabelClass
from serve_app.label.truth import Truth, unfit

DRAWS = 400
RANGE = (5, 95)
"""Percentiles."""
DRAWN: Mapping[str, Callable[[Counts], Values]] = {"f1": f1, "cgf1": cgf1, "presence": presence}
"""The figures whose differences have a range. A draw of AP would cost as much as AP itself."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """A model's results. weights: the name of its embeddings, which names its weights. counts: int64 [images, classes,
    COLUMNS]. classes, overall: figures; overall AP is the mean of the classes', the others are of all pairs."""

    label: str
    weights: str
    counts: Counts
    classes: dict[str, Figures]
    overall: Figures


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of a model minus that of the first one. low, high: of nine of ten draws; NaN where it is not drawn."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The truth, the classes and all results. left_out: images that some model could not be asked about, with the
    reason; none of the results has them."""

    truths: Sequence[Truth]
    classes: Sequence[LabelClass]
    threshold: float
    results: Sequence[Result]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def objects(self, name: str) -> int:
        """The number of true objects of a class."""
        return sum(len(truth.masks[name]) for truth in self.truths)

    def images(self, name: str) -> int:
        """The number of images that have the class."""
        return sum(bool(truth.masks[name]) for truth in self.truths)

    def differences(self, result: Result, seed: int = 0) -> dict[str, Difference]:
        """A model against the first one, by the attributes of Figures."""
        first = self.results[0]
        weights = np.random.default_rng(seed).multinomial(
            len(self.truths), [1 / len(self.truths)] * len(self.truths), DRAWS
        )
        drawn = [weights @ one.counts.sum(axis=1) for one in (result, first)]
        found = {}
        for name, value in asdict(result.overall).items():
            low = high = float("nan")
            if name in DRAWN:
                apart = DRAWN[name](drawn[0]) - DRAWN[name](drawn[1])
                if not np.isnan(apart).all():
                    low, high = map(float, np.nanpercentile(apart, RANGE))
            found[name] = Difference(value - getattr(first.overall, name), low, high)
        return found

    def document(self) -> dict[str, Any]:
        """All of it as JSON's types; null for a figure that nothing defines."""
        return {
            "threshold": self.threshold,
            "images": len(self.truths),
            "left_out": dict(self.left_out),
            "classes": {
                one.name: {
                    "phrases": list(one.phrases),
                    "negatives": list(one.negatives),
                    "objects": self.objects(one.name),
                    "images": self.images(one.name),
                }
                for one in self.classes
            },
            "models": {
                one.label: {
                    "weights": one.weights,
                    "overall": _plain(asdict(one.overall)),
                    "classes": {name: _plain(asdict(of_class)) for name, of_class in one.classes.items()},
                    "against_the_first": {
                        name: _plain(asdict(apart)) for name, apart in self.differences(one).items()
                    },
                }
                for one in self.results
            },
        }


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if isnan(value) else round(value, 6) for name, value in values.items()}


def compare(
    truths: Sequence[Truth],
    classes: Sequence[LabelClass],
    threshold: float,
    rows: Mapping[str, Mapping[str, Row]],
) -> Comparison:
    """Compare the answers of models. rows: of `rows.LABELLED`, by model and by location.

    Raises ValueError where no image is left.
    """
    left_out: dict[str, str] = {}
    for of_model in rows.values():
        for truth in truths:
            if (why := unfit(truth, of_model[truth.image.location])) is not None:
                left_out.setdefault(truth.image.location, why)
    kept = [truth for truth in truths if truth.image.location not in left_out]
    if not kept:
        location, why = next(iter(left_out.items()))
        raise ValueError(f"none of the {len(truths)} images could be compared, such as {location}: {why}")
    results = [_result(label, kept, classes, threshold, of_model) for label, of_model in rows.items()]
    return Comparison(kept, classes, threshold, results, left_out)


def _result(
    label: str,
    truths: Sequence[Truth],
    classes: Sequence[LabelClass],
    threshold: float,
    rows: Mapping[str, Row],
) -> Result:
    names = [one.name for one in classes]
    answers = [rows[truth.image.location]["objects"] for truth in truths]
    counts = np.array(
        [
            [count(objects, truth, name, threshold) for name in names]
            for truth, objects in zip(truths, answers, strict=True)
        ]
    )
    precisions = average_precision(truths, answers, names)
    of_class = {
        name: figures(counts[:, place].sum(axis=0), ap)
        for place, (name, ap) in enumerate(zip(names, precisions, strict=True))
    }
    known = [ap for ap in precisions if not isnan(ap)]
    whole = counts.sum(axis=(0, 1))
    ap = sum(known) / len(known) if known else float("nan")
    assert whole[WANTED] or not known
    weights = str(rows[truths[0].image.location]["model"])
    return Result(label, weights, counts, of_class, figures(whole, ap))
