import numpy as np
import pytest

from deployments.observe.metrics import Metrics
from serve_app.label.tally import Tally, duration
from tests.support.labels import found, row, table

CAT = found("cat", np.ones((8, 10), dtype=np.bool_))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_before_the_first_image_the_model_is_being_loaded() -> None:
    assert Tally(5).line() == "loading the model; 5 images to label"


def test_the_rate_counts_from_the_first_images_on() -> None:
    clock = Clock()
    tally = Tally(100, clock=clock)
    tally.add(table(*(row(f"/{number}.png", [CAT]) for number in range(10))))
    assert tally.rate == 0
    clock.now += 4
    tally.add(
        table(*(row(f"/{number}.png", [CAT, CAT]) for number in range(19)), row("/x.png", error="gone"))
    )
    assert tally.rate == pytest.approx(5.0)
    told = "30 of 100 images; 5.0 images/s, 14 s left; 0.6 models busy; cat 48; 1 could not be read"
    assert tally.line() == told


def test_nothing_is_told_of_a_rate_before_tables_come_as_fast_as_they_are_made() -> None:
    clock = Clock()
    tally = Tally(8, clock=clock)
    tally.add(table(*(row(f"/{number}.png", [CAT]) for number in range(4))))  # the model worked 0.5 s on them
    clock.now += 0.25
    tally.add(table(row("/4.png", [CAT])))
    assert (tally.rate, tally.busy) == (0, 0)
    clock.now += 0.75
    tally.add(table(row("/5.png", [CAT])))
    assert tally.rate == pytest.approx(2.0)


def test_what_a_prometheus_sees_is_what_was_counted() -> None:
    metrics = Metrics()
    tally = Tally(5, metrics)
    tally.add(table(row("/a.png", [CAT, CAT]), row("/b.png", error="gone"), row("/c.png")))
    assert metrics.values == {
        'sam3_label_images_total{outcome="labelled"}': 2,
        'sam3_label_images_total{outcome="unreadable"}': 1,
        'sam3_label_objects_total{class_name="cat"}': 2,
        "sam3_label_model_seconds_total": 0.25,
        "sam3_label_left": 2,
    }


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3700, "1 h 1 min"), (100_000, "27 h 46 min")]
)
def test_times_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
