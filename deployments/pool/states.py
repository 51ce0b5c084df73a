"""The life of one image in the pool.

    absent ---ensure---> ENCODING ---done---> READY ---budget, idle---> EVICTED
                          |    ^                |                          |
                          |    |                +---reader's report---> LOST
                          |    |                                           |
                          |    +------asked for again (source at hand)-----+
                          |
                          +---failed---> EVICTED when the source image is still held, else absent

- absent is no entry at all. A key is deleted (from any state), or forgotten when it has neither embedding nor
  source.
- EVICTED is also how a shard holds the copy that it keeps for its neighbour: a source, and no embedding.
- ENCODING: exactly one encode runs; every caller meanwhile waits for it and shares its result or its
  error. A failure leaves nothing behind that could poison the next try.
- READY: the reference is held, so the object cannot disappear by itself; its process or node may still die.
- EVICTED, LOST: no reference. LOST is found out by a reader (a get that failed or took too long); its report
  names the generation it read, so a late report about an older encode changes nothing.
- Each encode is a new generation; a result that arrives for another generation than the entry's is dropped.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from sam3_engine.types import ImageSize


class State(Enum):
    """See the module's text."""

    ENCODING = "encoding"
    READY = "ready"
    EVICTED = "evicted"
    LOST = "lost"


STEPS: dict[str, tuple[frozenset[State], State]] = {
    "encode again": (frozenset({State.EVICTED, State.LOST}), State.ENCODING),
    "ready": (frozenset({State.ENCODING}), State.READY),
    "failed": (frozenset({State.ENCODING}), State.EVICTED),
    "evict": (frozenset({State.READY}), State.EVICTED),
    "lose": (frozenset({State.READY}), State.LOST),
}
"""Every step: the states that it may be taken from, and the one it leads to."""


class InvalidTransition(Exception):
    """A step taken from a state that the table does not have for it: a bug."""


@dataclass(slots=True)
class Entry:
    """One image. `reference` is set in READY only; `source` may be set in every state."""

    size: ImageSize
    generation: int
    state: State = State.ENCODING
    reference: Any = None
    nbytes: int = 0
    """Bytes of the embedding in the object store; 0 unless READY."""
    source: bytes | None = None
    received: float = 0.0
    """Wall time at which the ingress received the latest request that brought the image."""
    created: float = 0.0
    used: float = 0.0
    """When somebody last asked for it, on the clock of `created`."""

    def _take(self, step: str) -> None:
        allowed, after = STEPS[step]
        if self.state not in allowed:
            raise InvalidTransition(f"{step!r} in state {self.state.value}")
        self.state = after

    def encode_again(self, generation: int) -> None:
        """EVICTED or LOST -> ENCODING."""
        self._take("encode again")
        self.generation = generation

    def ready(self, reference: Any, nbytes: int) -> None:
        """ENCODING -> READY."""
        self._take("ready")
        self.reference, self.nbytes = reference, nbytes

    def failed(self) -> None:
        """ENCODING -> EVICTED; the caller forgets an entry without a source."""
        self._take("failed")

    def evict(self) -> None:
        """READY -> EVICTED: drops the reference, which frees the object once no reader has it."""
        self._take("evict")
        self.reference, self.nbytes = None, 0

    def lose(self) -> None:
        """READY -> LOST."""
        self._take("lose")
        self.reference, self.nbytes = None, 0
