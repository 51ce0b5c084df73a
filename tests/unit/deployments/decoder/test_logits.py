import numpy as np
import pytest

from deployments.decoder.logits import LogitsCache, best_match, clicks
from deployments.keys import ImageKey
from sam3_engine.types import Box, Point, VisualPrompt

KEY = ImageKey("t", "m", "d")
A, B, C, D = Point(1, 1), Point(2, 2), Point(3, 3), Point(4, 4, False)
BOX: Box = (0, 0, 10, 10)


def prompt(*points: Point, box: Box | None = None) -> VisualPrompt:
    return VisualPrompt(points, box)


def logits(value: float) -> np.ndarray:
    return np.full((4, 4), value, dtype=np.float32)


@pytest.mark.parametrize(
    ("wanted", "stored", "expected"),
    [
        (prompt(A), [prompt(A)], None),  # one point never starts from anything
        (prompt(A, B), [], None),
        (prompt(A, B), [prompt(A)], 0),
        (prompt(A, B), [prompt(A), prompt(B)], 1),  # the newest
        (prompt(A, B, C), [prompt(A, B), prompt(A)], 0),  # n - 1 points before the newest
        (prompt(A, B, C), [prompt(A), prompt(B)], 1),  # else the newest of any number
        (prompt(A, B), [prompt(A, B)], None),  # a strict subset
        (prompt(A, B), [prompt(C)], None),
        (prompt(A, Point(2, 2, False)), [prompt(B)], None),  # another label is another point
        (prompt(B, A), [prompt(A)], 0),  # order does not matter
        (prompt(A, B, box=BOX), [prompt(A)], None),  # the box is the same...
        (prompt(A, B, box=BOX), [prompt(A, box=BOX)], 0),
        (prompt(A, B), [prompt(A, box=BOX)], None),
        (prompt(A, B, box=BOX), [prompt(box=BOX)], 0),  # ...and may be all there is
    ],
)
def test_the_matching_rule(wanted: VisualPrompt, stored: list[VisualPrompt], expected: int | None) -> None:
    assert best_match(clicks(wanted), [clicks(one) for one in stored]) == expected


def test_logits_are_found_again_by_image_and_prompt() -> None:
    cache = LogitsCache(10_000)
    cache.save(KEY, [prompt(A), prompt(C)], [logits(1), logits(3)])
    first, second, third = cache.load(KEY, [prompt(A, B), prompt(C, D), prompt(D, B)])
    assert first.previous_logits is not None
    assert first.previous_logits[0, 0] == 1
    assert first.points == (A, B)
    assert second.previous_logits is not None
    assert second.previous_logits[0, 0] == 3
    assert third.previous_logits is None


def test_another_image_or_tenant_has_none() -> None:
    cache = LogitsCache(10_000)
    cache.save(KEY, [prompt(A)], [logits(1)])
    for key in (ImageKey("other", "m", "d"), ImageKey("t", "m", "other")):
        assert cache.load(key, [prompt(A, B)])[0].previous_logits is None


def test_the_newest_logits_of_a_prompt_replace_the_older_ones() -> None:
    cache = LogitsCache(10_000)
    cache.save(KEY, [prompt(A)], [logits(1)])
    cache.save(KEY, [prompt(B)], [logits(2)])
    cache.save(KEY, [prompt(A)], [logits(5)])
    loaded = cache.load(KEY, [prompt(A, B)])[0].previous_logits
    assert loaded is not None
    assert loaded[0, 0] == 5


def test_images_leave_when_the_bytes_exceed_the_budget() -> None:
    cache = LogitsCache(logits(0).nbytes * 2)
    keys = [ImageKey("t", "m", str(number)) for number in range(3)]
    for key in keys:
        cache.save(key, [prompt(A)], [logits(1)])
    held = [cache.load(key, [prompt(A, B)])[0].previous_logits is not None for key in keys]
    assert held == [False, True, True]


def test_the_tenant_with_most_logits_gives_first() -> None:
    cache = LogitsCache(logits(0).nbytes * 4)
    small = ImageKey("small", "m", "d")
    cache.save(small, [prompt(A)], [logits(1)])
    for number in range(20):
        cache.save(ImageKey("large", "m", str(number)), [prompt(A)], [logits(1)])
    assert cache.load(small, [prompt(A, B)])[0].previous_logits is not None


def test_prompts_of_one_image_are_bounded() -> None:
    cache = LogitsCache(10**6, per_image=2)
    for number in range(4):
        cache.save(KEY, [prompt(Point(number, 0))], [logits(number)])
    wanted = [prompt(Point(number, 0), A) for number in range(4)]
    assert [one.previous_logits is not None for one in cache.load(KEY, wanted)] == [False, False, True, True]


def test_forgotten_logits_make_room() -> None:
    cache = LogitsCache(logits(0).nbytes)
    cache.save(KEY, [prompt(A)], [logits(1)])
    cache.forget(KEY)
    cache.forget(KEY)
    cache.save(KEY, [prompt(A)], [logits(2)])
    assert cache.load(KEY, [prompt(A, B)])[0].previous_logits is not None
