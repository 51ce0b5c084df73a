"""Sessions give stable ids: births, deaths, corrections, and videos side by side."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from safetensors.numpy import load, save

from sam3_engine.engine import Engine
from sam3_engine.errors import StaleTrack
from sam3_engine.features import Features
from sam3_engine.images import decode_picture
from sam3_engine.spec import TINY
from sam3_engine.tracking import sessions
from sam3_engine.tracking.passes import StepItem, Tracked
from sam3_engine.tracking.prompts import MaskPrompt
from sam3_engine.tracking.sessions import (
    UNSUPPORTED,
    Answer,
    NewObject,
    Rules,
    Session,
    Turn,
    advance,
)
from sam3_engine.tracking.state import Memory, TrackState, followed
from sam3_engine.tracking.storing import session_from_bytes, session_to_bytes
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt

Square = npt.NDArray[np.uint8]
SIZE = ImageSize(224, 224)
"""Of the pictures, before they are resized for the model."""
RED, DARK, GREEN = (220, 30, 30), (170, 20, 30), (30, 170, 60)
"""Two reds: `tiny` may give one mask to two things that look alike."""


def picture(*discs: tuple[int, int, tuple[int, int, int]]) -> Square:
    frame = np.full((224, 224, 3), 200, dtype=np.uint8)
    for x, y, colour in discs:
        cv2.circle(frame, (x, y), 28, colour, -1)
    return decode_picture(Image.fromarray(frame), TINY.image_size).square


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load("tiny", device="cpu", dtype="float32", video=True)


def seen(engine: Engine, frames: list[Square]) -> list[Features]:
    return [engine.expand(embedding) for embedding in engine.encode(frames)]


def run(engine: Engine, session: Session, frames: list[Square]) -> list[Answer]:
    answers = []
    for features in seen(engine, frames):
        answers += advance(engine, [Turn(session, features, SIZE, session.frame + 1)])
        session = answers[-1].session
    return answers


def at(answer: Answer, x: int, y: int) -> set[int]:
    """Ids of the objects whose mask holds a place."""
    side = TINY.mask_size
    return {
        one.id for one in answer.shown if one.mask_logits[y * side // SIZE.height, x * side // SIZE.width] > 0
    }


def test_objects_of_two_concepts_that_cross_are_each_on_their_own_shape_afterwards(engine: Engine) -> None:
    frames = []
    for step in range(17):
        frame = np.full((224, 224, 3), 200, dtype=np.uint8)
        cv2.circle(frame, (34 + 8 * step, 112), 30, RED, -1, cv2.LINE_AA)
        cv2.rectangle(frame, (170 - 8 * step, 94), (206 - 8 * step, 130), (40, 80, 200), -1)
        frames.append(decode_picture(Image.fromarray(frame), TINY.image_size).square)
    rules = Rules((ConceptPrompt("red circle"), ConceptPrompt("blue square")))
    answers = run(engine, Session(rules), frames)
    assert (at(answers[0], 34, 112), at(answers[0], 188, 112)) == ({1}, {2})
    assert (at(answers[-1], 162, 112), at(answers[-1], 60, 112)) == ({1}, {2})


def test_neighbours_of_one_look_keep_their_ids_while_one_grows_and_the_other_shrinks(engine: Engine) -> None:
    """Each looks more and more as the other one looked when it was clicked."""
    frames = []
    for step in range(12):
        frame = np.full((224, 224, 3), 200, dtype=np.uint8)
        cv2.circle(frame, (80, 110), 11 + 2 * step, RED, -1, cv2.LINE_AA)
        cv2.circle(frame, (140, 110), 33 - 2 * step, RED, -1, cv2.LINE_AA)
        frames.append(decode_picture(Image.fromarray(frame), TINY.image_size).square)
    clicks = [NewObject(VisualPrompt((Point(x, 110),))) for x in (80, 140)]
    turn = Turn(Session(), seen(engine, frames[:1])[0], SIZE, 0, clicks)
    session = advance(engine, [turn])[0].session
    for answer in run(engine, session, frames[1:]):
        assert (at(answer, 80, 110), at(answer, 140, 110)) == ({1}, {2})


def test_moving_objects_of_a_concept_keep_their_ids(engine: Engine) -> None:
    frames = [
        picture((40 + 6 * step, 60, RED), (180 - 6 * step, 160, DARK), (200, 30, GREEN)) for step in range(16)
    ]
    answers = run(engine, Session(Rules((ConceptPrompt("red circle"),), every=1)), frames)
    first, second = at(answers[0], 40, 60), at(answers[0], 180, 160)
    assert {*first, *second} == {1, 2}
    for step, answer in enumerate(answers):
        assert at(answer, 40 + 6 * step, 60) == first
        assert at(answer, 180 - 6 * step, 160) == second
        assert {one.label for one in answer.shown} == {"red circle"}
        assert answer.session.next_id == 3


def test_a_new_object_gets_a_new_id_at_the_next_detection(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking_gives(monkeypatch, visible=True)
    session = Session(Rules((ConceptPrompt("red circle"),), every=3))
    frames = [picture((50, 60, RED))] * 4 + [picture((50, 60, RED), (160, 150, DARK))] * 3
    answers = run(engine, session, frames)
    assert [answer.session.detected for answer in answers] == [0, 0, 0, 3, 3, 3, 6]
    assert [answer.session.next_id for answer in answers] == [2] * 6 + [3]
    assert at(answers[6], 160, 150) == {2}


def tracking_gives(monkeypatch: pytest.MonkeyPatch, visible: bool) -> None:
    """Let the tracker find each object where it was, or nowhere."""

    def fake(_: Engine, items: list[StepItem]) -> list[list[Tracked]]:
        return [[found(state, item.frame) for state in item.states] for item in items]

    def found(state: TrackState, frame: int) -> Tracked:
        logits = state.logits if visible else torch.full_like(state.logits, -1024)
        memory = Memory(frame, state.conditioning[0].features, state.conditioning[0].pointer)
        return Tracked(followed(state, memory, logits), logits, 0.9, 0.9 if visible else 0.1)

    monkeypatch.setattr(sessions, "step", fake)


def test_an_object_that_no_detection_finds_dies_and_its_id_is_not_used_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking_gives(monkeypatch, visible=True)
    session = Session(Rules((ConceptPrompt("red circle"),), every=1))
    answers = run(engine, session, [picture((50, 60, RED))] + [picture()] * UNSUPPORTED)
    assert [[one.id for one in answer.shown] for answer in answers] == [[1]] * UNSUPPORTED + [[]]
    assert answers[-1].died == (1,)
    again = run(engine, answers[-1].session, [picture((50, 60, RED))])[0]
    assert [one.id for one in again.shown] == [2]


def test_a_detection_now_and_then_keeps_an_object(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking_gives(monkeypatch, visible=True)
    session = Session(Rules((ConceptPrompt("red circle"),), every=1))
    there, gone = picture((50, 60, RED)), picture()
    answers = run(engine, session, [there, *[gone] * (UNSUPPORTED - 1), there, *[gone] * (UNSUPPORTED - 1)])
    assert all([one.id for one in answer.shown] == [1] for answer in answers)


def test_a_hidden_object_waits_and_then_dies(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking_gives(monkeypatch, visible=False)
    monkeypatch.setattr(sessions, "HIDDEN", 8)
    session = Session(Rules((ConceptPrompt("red circle"),), every=2))
    answers = run(engine, session, [picture((50, 60, RED))] + [picture()] * 5 + [picture((52, 62, RED))])
    assert [len(answer.shown) for answer in answers] == [1] * 7
    assert [one.visible for answer in answers for one in answer.shown] == [True, *[False] * 5, True]
    answers = run(engine, answers[-1].session, [picture()] * 8)
    assert [len(answer.shown) for answer in answers] == [1] * 7 + [0]
    assert answers[-1].died == (1,)


def test_a_clicked_object_outlives_any_absence(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking_gives(monkeypatch, visible=False)
    monkeypatch.setattr(sessions, "HIDDEN", 2)
    click = NewObject(VisualPrompt((Point(50, 60),)))
    first = advance(engine, [Turn(Session(), seen(engine, [picture((50, 60, RED))])[0], SIZE, 0, [click])])[0]
    answers = run(engine, first.session, [picture()] * 4)
    assert [[one.id for one in answer.shown] for answer in answers] == [[1]] * 4


def test_concepts_have_objects_of_their_own(engine: Engine) -> None:
    rules = Rules((ConceptPrompt("red circle"), ConceptPrompt("green circle")))
    answer = run(engine, Session(rules), [picture((50, 60, RED), (160, 150, GREEN))])[0]
    assert [(one.id, one.label) for one in answer.shown] == [(1, "red circle"), (2, "green circle")]


def test_a_concept_finds_no_clicked_object_again(engine: Engine) -> None:
    features = seen(engine, [picture((50, 60, RED), (160, 150, DARK))])[0]
    click = NewObject(VisualPrompt((Point(50, 60),)), "mine")
    rules = Rules((ConceptPrompt("red circle"),))
    answer = advance(engine, [Turn(Session(rules), features, SIZE, 0, [click])])[0]
    assert [(one.id, one.label) for one in answer.shown] == [(1, "mine"), (2, "red circle")]
    assert (at(answer, 50, 60), at(answer, 160, 150)) == ({1}, {2})


def test_no_detection_changes_a_corrected_object(engine: Engine) -> None:
    features = seen(engine, [picture((50, 60, RED))])[0]
    session = run(engine, Session(Rules((ConceptPrompt("red circle"),), every=1)), [picture((50, 60, RED))])[
        0
    ].session
    side = TINY.mask_size
    corner = np.zeros((side, side), dtype=np.bool_)
    corner[3 * side // 4 :, 3 * side // 4 :] = True
    turn = Turn(session, features, SIZE, 1, corrections={1: MaskPrompt.of(corner)})
    answer = advance(engine, [turn])[0]
    assert at(answer, 215, 215) == {1}
    assert at(answer, 50, 60) == {2}


def test_corrections_change_one_object_and_keep_its_id(engine: Engine) -> None:
    features = seen(engine, [picture((50, 60, RED), (160, 150, GREEN))])[0]
    clicks = [NewObject(VisualPrompt((Point(50, 60),))), NewObject(VisualPrompt((Point(50, 60),)))]
    first = advance(engine, [Turn(Session(), features, SIZE, 0, clicks)])[0]
    box = VisualPrompt(box=(136, 126, 184, 174))
    second = advance(engine, [Turn(first.session, features, SIZE, 0, corrections={2: box})])[0]
    # Both are known in this frame already: it tracks neither, and answers the corrected one.
    assert [one.id for one in second.shown] == [2]
    assert at(second, 160, 150) == {2}
    assert [one.id for one in second.session.objects] == [1, 2]


def test_a_correction_of_an_earlier_frame_tracks_that_object_anew(engine: Engine) -> None:
    features = seen(engine, [picture((50 + 5 * step, 60, RED), (160, 150, GREEN)) for step in range(6)])
    clicks = [NewObject(VisualPrompt((Point(50, 60),))), NewObject(VisualPrompt((Point(160, 150),)))]
    answer = advance(engine, [Turn(Session(), features[0], SIZE, 0, clicks)])[0]
    for frame in range(1, 6):
        answer = advance(engine, [Turn(answer.session, features[frame], SIZE, frame)])[0]
        assert [one.id for one in answer.shown] == [1, 2]
    click = VisualPrompt((Point(60, 60),))
    answer = advance(engine, [Turn(answer.session, features[2], SIZE, 2, corrections={1: click})])[0]
    assert [one.id for one in answer.shown] == [1]
    for frame in range(3, 6):
        answer = advance(engine, [Turn(answer.session, features[frame], SIZE, frame)])[0]
        assert [one.id for one in answer.shown] == [1]
    answer = advance(engine, [Turn(answer.session, features[5], SIZE, 6)])[0]
    assert [one.id for one in answer.shown] == [1, 2]


def test_removed_objects_are_gone_and_their_ids_too(engine: Engine) -> None:
    features = seen(engine, [picture((50, 60, RED))])[0]
    click = NewObject(VisualPrompt((Point(50, 60),)))
    first = advance(engine, [Turn(Session(), features, SIZE, 0, [click, click])])[0]
    second = advance(engine, [Turn(first.session, features, SIZE, 1, [click], removed=[2])])[0]
    assert [one.id for one in second.shown] == [1, 3]
    assert second.died == (2,)


def test_videos_side_by_side_are_as_each_alone(engine: Engine) -> None:
    one = [picture((50 + 5 * step, 60, RED)) for step in range(4)]
    other = [picture((160, 150 - 5 * step, RED), (40, 40, GREEN)) for step in range(4)]
    rules = (Rules((ConceptPrompt("red circle"),), every=2), Rules((ConceptPrompt("green circle"),), every=3))
    alone = [run(engine, Session(rule), frames) for rule, frames in zip(rules, (one, other), strict=True)]
    running = [Session(rule) for rule in rules]
    for frame, both in enumerate(zip(seen(engine, one), seen(engine, other), strict=True)):
        turns = [
            Turn(session, features, SIZE, frame) for session, features in zip(running, both, strict=True)
        ]
        answers = advance(engine, turns)
        running = [answer.session for answer in answers]
        for answer, expected in zip(answers, (each[frame] for each in alone), strict=True):
            assert [shown.id for shown in answer.shown] == [shown.id for shown in expected.shown]
            for ours, theirs in zip(answer.shown, expected.shown, strict=True):
                assert ((ours.mask_logits > 0) == (theirs.mask_logits > 0)).float().mean() > 0.995


def test_a_session_has_no_more_objects_than_its_rules_allow(engine: Engine) -> None:
    frames = [picture((50, 60, RED), (160, 150, DARK))]
    answer = run(engine, Session(Rules((ConceptPrompt("red circle"),), most=1)), frames)[0]
    assert (len(answer.shown), answer.dropped) == (1, 1)
    click = NewObject(VisualPrompt((Point(50, 60),)))
    with pytest.raises(ValueError, match="may follow 1"):
        advance(engine, [Turn(answer.session, seen(engine, frames)[0], SIZE, 1, [click])])


@pytest.mark.parametrize("wrong", [{"corrections": {7: VisualPrompt()}}, {"removed": [7]}])
def test_an_unknown_id_is_refused(engine: Engine, wrong: dict) -> None:
    with pytest.raises(ValueError, match="no object 7"):
        advance(engine, [Turn(Session(), seen(engine, [picture()])[0], SIZE, 0, **wrong)])


@pytest.mark.parametrize("wrong", [{"every": -1}, {"most": 0}, {"most": 1000}])
def test_rules_are_checked(wrong: dict) -> None:
    with pytest.raises(ValueError, match="not"):
        Rules(**wrong)


def test_a_frame_before_the_first_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="counted from 0"):
        advance(engine, [Turn(Session(), seen(engine, [picture()])[0], SIZE, -1)])


def test_a_session_without_objects_answers_empty_frames(engine: Engine) -> None:
    answers = run(engine, Session(), [picture()] * 2)
    assert [answer.shown for answer in answers] == [(), ()]
    assert answers[-1].session.frame == 1


def test_a_stored_session_goes_on_as_the_original(engine: Engine) -> None:
    rules = Rules((ConceptPrompt("red circle"),), every=2)
    frames = [picture((50 + 5 * step, 60, RED), (160, 150 - 5 * step, DARK)) for step in range(6)]
    session = run(engine, Session(rules), frames[:3])[-1].session
    block = session_to_bytes(session)
    assert len(block) < session.nbytes + 6000
    restored = session_from_bytes(block, rules, engine)
    assert restored.nbytes == session.nbytes
    for ours, theirs in zip(run(engine, session, frames[3:]), run(engine, restored, frames[3:]), strict=True):
        assert [one.id for one in ours.shown] == [one.id for one in theirs.shown] == [1, 2]
        for one, other in zip(ours.shown, theirs.shown, strict=True):
            assert torch.equal(one.mask_logits, other.mask_logits)


def test_a_session_that_was_stored_without_looks_goes_on(engine: Engine) -> None:
    """An earlier release did not store them. Its objects look like nothing until a prompt or detection shows them."""
    rules = Rules((ConceptPrompt("red circle"),), every=4)
    frames = [picture((50 + 5 * step, 60, RED), (160, 150 - 5 * step, DARK)) for step in range(6)]
    arrays = load(session_to_bytes(run(engine, Session(rules), frames[:3])[-1].session))
    names = [name for name in arrays if name.endswith(" look")]
    assert len(names) == 2
    restored = session_from_bytes(save({k: v for k, v in arrays.items() if k not in names}), rules, engine)
    assert not any(one.state.look.any() for one in restored.objects)
    answers = run(engine, restored, frames[3:])
    assert [[one.id for one in answer.shown] for answer in answers] == [[1, 2]] * 3
    assert all(one.state.look.any() for one in answers[-1].session.objects)


@pytest.mark.parametrize("name", ["logits", "recent", "conditioning_pointers", "last_seen"])
def test_a_stored_session_that_lacks_an_array_is_none(engine: Engine, name: str) -> None:
    rules = Rules((ConceptPrompt("red circle"),))
    arrays = load(session_to_bytes(run(engine, Session(rules), [picture((50, 60, RED))])[0].session))
    del arrays[f"1 {name}"]
    with pytest.raises(ValueError, match="no stored session"):
        session_from_bytes(save(arrays), rules, engine)


def test_a_stored_session_without_objects_is_whole(engine: Engine) -> None:
    session = Session(Rules(), 7, 5, 12)
    assert session_from_bytes(session_to_bytes(session), Rules(), engine) == session


@pytest.mark.parametrize("block", [b"", b"none", b"\x00" * 100])
def test_other_bytes_are_no_stored_session(engine: Engine, block: bytes) -> None:
    with pytest.raises(ValueError, match="no stored session"):
        session_from_bytes(block, Rules(), engine)


def test_cut_bytes_are_no_stored_session(engine: Engine) -> None:
    block = session_to_bytes(Session(Rules(), 7, 5, 12))
    with pytest.raises(ValueError, match="no stored session"):
        session_from_bytes(block[:-1], Rules(), engine)


def test_a_session_of_another_model_is_refused(engine: Engine) -> None:
    session = run(engine, Session(Rules((ConceptPrompt("red circle"),))), [picture((50, 60, RED))])[0].session
    other = Engine.random(TINY, device="cpu", dtype="float32", video=True)
    with pytest.raises(StaleTrack):
        session_from_bytes(session_to_bytes(session), session.rules, other)
