"""A session's turn under way: its objects so far, and what the frame shows of each."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from sam3_engine.tracking.objects import Answer, Followed, Session, Shown, Turn
from sam3_engine.tracking.passes import Tracked


@dataclass(slots=True)
class OpenTurn:
    """Changes until the frame is answered. objects, tracked: by id."""

    turn: Turn
    objects: dict[int, Followed]
    next_id: int
    detected: int | None
    tracked: dict[int, Tracked] = field(default_factory=dict)
    died: list[int] = field(default_factory=list)
    dropped: int = 0

    @classmethod
    def of(cls, turn: Turn) -> "OpenTurn":
        """The turn with the session's objects, without removed ones. Raises ValueError as `sessions.advance`."""
        session = turn.session
        objects = {one.id: one for one in session.objects}
        asked, removed = set(turn.corrections), set(turn.removed)
        unknown = sorted((asked | removed) - set(objects) | asked & removed)
        if unknown:
            raise ValueError(f"the session has no object {unknown[0]}")
        if turn.frame < 0:
            raise ValueError(f"frames are counted from 0, not {turn.frame}")
        for number in turn.removed:
            objects.pop(number, None)
        if len(objects) + len(turn.new) > session.rules.most:
            raise ValueError(
                f"the session follows {len(objects)} objects, and may follow {session.rules.most}"
            )
        return cls(turn, objects, session.next_id, session.detected, died=sorted(removed))

    def begin(self, label: str | None, concept: int | None, score: float, tracked: Tracked) -> None:
        """Add a new object."""
        number, self.next_id = self.next_id, self.next_id + 1
        seen = self.turn.frame
        self.keep(Followed(number, label, concept, score, tracked.state, seen, packed(tracked)), tracked)

    def keep(self, followed: Followed, tracked: Tracked) -> None:
        """Take an object's answer; where it is visible, it has been seen here."""
        self.tracked[followed.id] = tracked
        followed = replace(followed, state=tracked.state)
        if (tracked.mask_logits > 0).any():
            followed = replace(followed, seen=self.turn.frame, last_seen=packed(tracked))
        self.objects[followed.id] = followed

    def end(self, number: int) -> None:
        """Let an object die."""
        del self.objects[number], self.tracked[number]
        self.died.append(number)

    def close(self) -> Answer:
        """The frame's answer, and the session after it."""
        shown = tuple(
            Shown(number, followed.label, followed.score, tracked.presence, tracked.mask_logits)
            for number, followed in sorted(self.objects.items())
            if (tracked := self.tracked.get(number)) is not None
        )
        after = Session(
            self.turn.session.rules,
            self.turn.frame,
            self.detected,
            self.next_id,
            tuple(self.objects.values()),
        )
        return Answer(after, shown, tuple(self.died), self.dropped)


def packed(tracked: Tracked) -> npt.NDArray[np.uint8]:
    """The bits of a mask."""
    return np.packbits((tracked.mask_logits > 0).numpy())


def unpacked(bits: npt.NDArray[np.uint8], cells: int) -> npt.NDArray[np.bool_]:
    """The inverse of `packed`, bool [cells]."""
    return np.unpackbits(bits, count=cells).astype(np.bool_)
