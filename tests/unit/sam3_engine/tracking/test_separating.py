"""Objects of one frame are kept apart in answers and memories, and forget frames in doubt."""

from dataclasses import replace

import pytest
import torch

from sam3_engine.engine import Engine
from sam3_engine.features import Features
from sam3_engine.tracking.heads import TrackerHeads
from sam3_engine.tracking.passes import StartItem, StepItem, Tracked, start, step
from sam3_engine.tracking.separating import SURE, separate
from sam3_engine.tracking.state import attended
from sam3_engine.types import ImageSize, Point, VisualPrompt

SIZE = ImageSize(224, 224)


def begun(engine: Engine, features: Features, points: list[tuple[int, int]]) -> list[Tracked]:
    return start(engine, [StartItem(features, SIZE, [VisualPrompt((Point(*one),)) for one in points])])[0]


def claiming(tracked: Tracked, left: int, right: int) -> Tracked:
    """The answer with another mask: a band of columns."""
    logits = torch.full_like(tracked.mask_logits, -5.0)
    logits[:, left:right] = 5.0
    return replace(tracked, state=replace(tracked.state, logits=logits), mask_logits=logits)


@pytest.fixture
def pair(random_tracker: Engine, random_features: list[Features]) -> tuple[StepItem, list[Tracked]]:
    """Two objects that were apart in the last frame, and whose masks overlap now."""
    first = begun(random_tracker, random_features[0], [(35, 70), (180, 70)])
    first = [claiming(first[0], 0, 20), claiming(first[1], 30, 50)]
    item = StepItem(random_features[1], [one.state for one in first], 1)
    now = step(random_tracker, [item])[0]
    now = [
        claiming(replace(now[0], presence=0.9), 0, 40),
        claiming(replace(now[1], presence=0.9), 10, 50),
    ]
    return item, now


def test_objects_of_one_frame_do_not_overlap(
    random_tracker: Engine, pair: tuple[StepItem, list[Tracked]]
) -> None:
    item, answers = pair
    first, second = separate(random_tracker, [item], [answers], [[None, None]])[0]
    assert not ((first.mask_logits > 0) & (second.mask_logits > 0)).any()
    assert ((first.mask_logits > 0) | (second.mask_logits > 0))[:, :50].all()
    for found in (first, second):
        assert torch.equal(found.state.logits, found.mask_logits)


def test_an_object_remembers_its_frame_as_it_was_answered(
    random_tracker: Engine, pair: tuple[StepItem, list[Tracked]]
) -> None:
    item, answers = pair
    found = separate(random_tracker, [item], [answers], [[None, None]])[0]
    for before, after in zip(answers, found, strict=True):
        old, new = before.state.recent[-1], after.state.recent[-1]
        assert old.features is not None
        assert new.features is not None
        with torch.inference_mode():
            expected = TrackerHeads(random_tracker.model).remember(
                item.features.image.pvs[2], after.state.logits[None]
            )[0]
        torch.testing.assert_close(new.features, expected, rtol=0.02, atol=0.02)
        assert not torch.equal(new.features, old.features)
        assert torch.equal(new.pointer, old.pointer)
        assert after.state.recent[:-1] == before.state.recent[:-1]
        assert after.state.nbytes == before.state.nbytes


def test_what_was_tracked_is_remembered_alike(
    random_tracker: Engine, random_features: list[Features]
) -> None:
    """The memory of a mask that loses nothing is the one that tracking made."""
    states = [one.state for one in begun(random_tracker, random_features[0], [(35, 70)])]
    tracked = step(random_tracker, [StepItem(random_features[1], states, 1)])[0][0]
    assert tracked.presence > 0.5
    with torch.inference_mode():
        again = TrackerHeads(random_tracker.model).remember(
            random_features[1].image.pvs[2],
            tracked.state.logits[None],
        )[0]
    features = tracked.state.recent[-1].features
    assert features is not None
    torch.testing.assert_close(again, features, rtol=0.02, atol=0.02)


def test_objects_of_other_videos_do_not_matter(
    random_tracker: Engine, pair: tuple[StepItem, list[Tracked]]
) -> None:
    item, answers = pair
    alone = [StepItem(item.features, [state], 1) for state in item.states]
    found = separate(random_tracker, alone, [[one] for one in answers], [[None], [None]])
    assert [row[0] for row in found] == answers


def test_nothing_to_separate_is_answered_as_it_is(random_tracker: Engine) -> None:
    assert separate(random_tracker, [], [], []) == []


def test_objects_of_two_concepts_may_go_on_overlapping(
    random_tracker: Engine, pair: tuple[StepItem, list[Tracked]]
) -> None:
    item, answers = pair
    first, second = separate(random_tracker, [item], [answers], [[0, 1]])[0]
    assert not ((first.mask_logits > 0) & (second.mask_logits > 0)).any(), "they were apart in the last frame"
    item = replace(item, states=[one.state for one in answers])
    item = replace(item, states=[replace(state, frame=0) for state in item.states])
    assert separate(random_tracker, [item], [answers], [[0, 1]])[0] == answers


def test_an_object_in_doubt_keeps_its_memory_of_before(
    random_tracker: Engine, random_features: list[Features]
) -> None:
    state = begun(random_tracker, random_features[0], [(35, 70)])[0].state
    for frame in range(1, 9):
        state = step(random_tracker, [StepItem(random_features[frame], [state], frame)])[0][0].state
    known = attended(state, 9)
    for frame in range(9, 18):
        item = StepItem(random_features[frame], [state], frame)
        doubtful = replace(step(random_tracker, [item])[0][0], presence=SURE - 0.01)
        found = separate(random_tracker, [item], [[doubtful]], [[None]])[0][0]
        assert torch.equal(found.mask_logits, doubtful.mask_logits)
        assert torch.equal(found.state.logits, doubtful.state.logits)
        assert found.state.frame == frame
        assert found.state.nbytes == state.nbytes
        state = found.state
    memories, pointers = attended(state, 18)
    for now, before in ((memories, known[0]), (pointers[1:], known[1][1:])):
        assert [place for place, _ in now] == [place for place, _ in before]
        assert all(one.pointer is other.pointer for (_, one), (_, other) in zip(now, before, strict=True))


def test_an_object_that_is_sure_remembers_the_frame(
    random_tracker: Engine, pair: tuple[StepItem, list[Tracked]]
) -> None:
    item, answers = pair
    sure = replace(answers[0], presence=SURE)
    alone = replace(item, states=item.states[:1])
    assert separate(random_tracker, [alone], [[sure]], [[0]])[0][0] is sure
