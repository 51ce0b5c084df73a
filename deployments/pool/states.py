"""The life of one embedding in the pool.

    absent ---ensure, lookup---> ENCODING ---done---> READY ---budget, idle, a reader's report of its loss---> absent
       ^                            |
       +-----------failed-----------+

- absent is no entry at all. A deletion leads there from any state.
- ENCODING: exactly one encode runs; every caller meanwhile waits for it and shares its result or its
  error. A failure leaves nothing behind that could poison the next try.
- READY: the reference is held, so the object cannot disappear by itself; its process or node may still die. A reader
  finds that out (a get that failed or took too long); its report names the generation it read, so a late report about
  an older encode changes nothing.
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


@dataclass(slots=True)
class Entry:
    """One image. `reference` is set in READY only."""

    size: ImageSize
    generation: int
    born: int
    """See `deployments.store.deletions`."""
    used: float
    """The time of the last request for it, in seconds of the directory's clock."""
    state: State = State.ENCODING
    reference: Any = None
    nbytes: int = 0
    """Bytes of the embedding in the object store; 0 unless READY."""

    def ready(self, reference: Any, nbytes: int) -> None:
        """ENCODING -> READY."""
        self.state, self.reference, self.nbytes = State.READY, reference, nbytes
