import random
from itertools import pairwise

import pytest

from loadtest.corpus import Corpus
from loadtest.scenarios import CLICKS, CONCEPT, EMBED, LIST, SCENARIOS, VISUAL, Traffic
from loadtest.traffic import Zipf, poisson
from sam3_engine.types import ImageSize

CORPUS = Corpus.draw(1, 3, ImageSize(120, 160))


def traffic(run: str = "a", seed: int = 0) -> Traffic:
    return Traffic(CORPUS, run, random.Random(seed))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_sessions_are_requests_of_the_contract(scenario: str) -> None:
    for ask in traffic().session(scenario):
        assert ask.route in (EMBED, CONCEPT, VISUAL)
        assert len(ask.files) == len(ask.pictures)
        document = ask.document
        assert ("image" in document) is ask.send
        assert ask.send or document["image_id"]
        if ask.route != EMBED:
            assert 1 <= len(document["prompts"]) <= 16
        assert "image" in ask.whole().document


def test_an_annotator_clicks_on_the_image_that_was_embedded() -> None:
    embed, *clicks = traffic().annotator()
    assert embed.think_s == 0
    assert len(clicks) == CLICKS
    assert {click.fields["image_id"] for click in clicks} == {embed.fields["image_id"]}
    assert all(click.think_s > 0 and not click.send for click in clicks)


def test_files_of_one_run_are_new_to_another() -> None:
    files = [traffic(run).concept()[0].files[0] for run in ("a", "b")]
    assert files[0] != files[1]
    two = traffic()
    assert two.concept()[0].files != two.concept()[0].files


def test_known_images_are_known_from_run_to_run() -> None:
    asked = {traffic(run, seed).concept_hot()[0].files[0] for run in ("a", "b") for seed in range(200)}
    assert 10 < len(asked) <= 100


def test_bulk_sends_lists() -> None:
    (ask,) = traffic().bulk()
    assert len(set(ask.files)) == LIST
    assert len(ask.document["image"]) == LIST


def test_poisson_arrivals_have_their_rate_and_order() -> None:
    times = list(poisson(50.0, 100.0, random.Random(1)))
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 100
    assert len(times) == pytest.approx(5000, rel=0.05)
    gaps = [b - a for a, b in pairwise(times)]
    assert sum(gap > 2 / 50 for gap in gaps) / len(gaps) == pytest.approx(2.718**-2, abs=0.02)


def test_zipf_prefers_small_numbers() -> None:
    rng, zipf = random.Random(1), Zipf(100)
    drawn = [zipf.draw(rng) for _ in range(5000)]
    assert set(drawn) <= set(range(100))
    assert drawn.count(0) == pytest.approx(2 * drawn.count(1), rel=0.2)
