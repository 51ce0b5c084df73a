import pytest

from deployments.video.protocol import SessionRules, VideoFacts
from deployments.video.record import KeptObject, Record, deflated, inflated
from sam3_engine.types import ConceptPrompt, ImageSize

OBJECT = KeptObject(3, "ball", None, 0.75, 6, 2, deflated(bytes(range(256))))
FULL = Record(
    SessionRules((ConceptPrompt("red circle", score_threshold=0.4),), every=5, most=7),
    began=1.5,
    frame=6,
    detected=5,
    next_id=4,
    objects=(OBJECT, KeptObject(1, None, 0, 0.5, 5, 0, deflated(b""))),
    size=ImageSize(30, 40),
    video=VideoFacts(ImageSize(30, 40), None, 29.97, 1.25),
    seconds=0.24,
)


@pytest.mark.parametrize("record", [Record(SessionRules(), began=0.0), FULL])
def test_a_record_is_the_same_after_a_way_through_bytes(record: Record) -> None:
    assert Record.from_bytes(record.to_bytes()) == record


def test_masks_are_small_and_come_back() -> None:
    bits = bytes(10_000)
    assert len(deflated(bits)) < 100
    assert inflated(deflated(bits)) == bits


def test_concepts_that_are_added_are_looked_for_at_once() -> None:
    more = FULL.looking_for((ConceptPrompt("star"),))
    assert [one.text for one in more.rules.concepts] == ["red circle", "star"]
    assert more.detected is None
    assert FULL.looking_for(()) is FULL
