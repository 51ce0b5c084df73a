"""The plan of a load, which a load generator reads from a file."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.records import Record, write
from loadtest.checks import Found
from loadtest.corpus import Corpus
from loadtest.scenarios import VISUAL
from sam3_engine.types import ImageSize


@dataclass(frozen=True)
class Plan:
    """One load. Either `clients` (closed loop) or `rate` (open loop) is more than 0."""

    url: str
    scenario: str
    seconds: float
    clients: int = 0
    """Closed loop: number of clients, each with one request at a time."""
    rate: float = 0.0
    """Open loop: sessions per second."""
    seed: int = 0
    """Seed of the pictures."""
    pictures: int = 16
    height: int = 480
    width: int = 640
    run: str = ""
    """Name of the run: makes its files new to the server, and is the seed of its sessions."""
    think: bool = True
    """Annotators pause between clicks."""
    by_id: tuple[str, ...] = (VISUAL,)
    """Routes whose requests may name a known image instead of sending it."""
    multipart: bool = True
    """True: images are sent as files; False: as base64 in JSON."""
    api_key: str = ""
    reference: str = ""
    """File of the reference masks; empty: only the form of answers is checked."""
    out: str = ""
    """File for the records."""

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """The inverse of `write`."""
        fields = json.loads(path.read_text())
        return cls(**{**fields, "by_id": tuple(fields["by_id"])})

    def write(self, path: Path) -> None:
        """Write the plan as JSON."""
        path.write_text(json.dumps(asdict(self)))

    def corpus(self) -> Corpus:
        """The plan's pictures."""
        return Corpus.draw(self.seed, self.pictures, ImageSize(self.height, self.width))


def read_reference(path: str) -> dict[str, list[Found]]:
    """Masks by prompt, as `loadtest.reference` writes them."""
    if not path:
        return {}
    written = json.loads(Path(path).read_text())
    return {name: [Found(s, tuple(b), a) for s, b, a in found] for name, found in written.items()}


def serve_plans(drive: Callable[[Plan], list[Record]]) -> None:
    """Drive the plans whose files standard input names, one per line; prints "done" after each."""
    print("ready", flush=True)
    for line in sys.stdin:
        plan = Plan.read(Path(line.strip()))
        write(Path(plan.out), drive(plan))
        print("done", flush=True)
