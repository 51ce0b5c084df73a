"""A session's record in the store: its rules, its ids, and where each object was seen last.

It is JSON, because a store may be shared with others: nothing that is read from it may run code.
"""

import base64
import zlib
from dataclasses import dataclass, replace
from typing import Any

import orjson

from deployments.video.protocol import SessionInfo, SessionRules, VideoFacts
from sam3_engine.types import ConceptPrompt, ImageSize


@dataclass(frozen=True, slots=True)
class KeptObject:
    """One object. Fields as of `sam3_engine.tracking.sessions.Followed`; last_seen: its packed bits, deflated."""

    id: int
    label: str | None
    concept: int | None
    score: float
    seen: int
    unsupported: int
    last_seen: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A session after `frame`. Fields as of `sam3_engine.tracking.sessions.Session`.

    began: `time.time()`. size: of the last frame; None before the first. video: of the file that the session was begun
    with. seconds: when the last frame is shown, by that file; None where frames come one by one.
    """

    rules: SessionRules
    began: float
    frame: int = -1
    detected: int | None = None
    next_id: int = 1
    objects: tuple[KeptObject, ...] = ()
    size: ImageSize | None = None
    video: VideoFacts | None = None
    seconds: float | None = None

    @property
    def next_frame(self) -> int:
        """Number of the frame that is expected."""
        return self.frame + 1

    def info(self, session_id: str, now: float) -> SessionInfo:
        """As its client sees it. now: `time.time()`."""
        named = tuple((one.id, one.label) for one in self.objects)
        return SessionInfo(
            session_id, self.rules, self.next_frame, named, max(0.0, now - self.began), self.video
        )

    def looking_for(self, concepts: tuple[ConceptPrompt, ...]) -> "Record":
        """With further concepts, which are looked for in the next frame that the tracker gets."""
        if not concepts:
            return self
        rules = replace(self.rules, concepts=(*self.rules.concepts, *concepts))
        return replace(self, rules=rules, detected=None)

    def to_bytes(self) -> bytes:
        """The record as JSON."""
        rules = self.rules
        return orjson.dumps(
            {
                "texts": [[one.text, one.score_threshold] for one in rules.concepts],
                "every": rules.every,
                "most": rules.most,
                "began": self.began,
                "frame": self.frame,
                "detected": self.detected,
                "next_id": self.next_id,
                "size": self.size and list(self.size),
                "video": self.video and _facts(self.video),
                "seconds": self.seconds,
                "objects": [_fields(one) for one in self.objects],
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> "Record":
        """The inverse of `to_bytes`."""
        found = orjson.loads(content)
        concepts = tuple(ConceptPrompt(text, score_threshold=least) for text, least in found["texts"])
        return cls(
            SessionRules(concepts, found["every"], found["most"]),
            found["began"],
            found["frame"],
            found["detected"],
            found["next_id"],
            tuple(_object(fields) for fields in found["objects"]),
            ImageSize(*found["size"]) if found["size"] else None,
            VideoFacts(ImageSize(*found["video"][0]), *found["video"][1:]) if found["video"] else None,
            found.get("seconds"),
        )


def deflated(bits: bytes) -> bytes:
    """Packed bits of a mask as `KeptObject.last_seen` has them."""
    return zlib.compress(bits, level=1)


def inflated(last_seen: bytes) -> bytes:
    """The inverse of `deflated`."""
    return zlib.decompress(last_seen)


def _facts(video: VideoFacts) -> list[Any]:
    return [list(video.size), video.frames, video.rate, video.seconds]


def _fields(one: KeptObject) -> list[Any]:
    mask = base64.b64encode(one.last_seen).decode()
    return [one.id, one.label, one.concept, one.score, one.seen, one.unsupported, mask]


def _object(fields: list[Any]) -> KeptObject:
    number, label, concept, score, seen, unsupported, mask = fields
    return KeptObject(number, label, concept, score, seen, unsupported, base64.b64decode(mask))
