"""What a load generator is to do, as a file."""

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
    """Closed loop: how many, each with one request at a time."""
    rate: float = 0.0
    """Open loop: sessions a second."""
    seed: int = 0
    """Draws the pictures."""
    pictures: int = 16
    height: int = 480
    width: int = 640
    run: str = ""
    """Makes the files new to the server, and draws the sessions."""
    think: bool = True
    """Whether people think between clicks."""
    by_id: tuple[str, ...] = (VISUAL,)
    """Routes whose requests may name a known image instead of sending it."""
    multipart: bool = True
    """How images are sent: as files, or as base64 in JSON."""
    api_key: str = ""
    reference: str = ""
    """File of the masks that are right; empty: only the form of answers is checked."""
    out: str = ""
    """File for the records."""

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """The inverse of `write`."""
        fields = json.loads(path.read_text())
        return cls(**{**fields, "by_id": tuple(fields["by_id"])})

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)))

    def corpus(self) -> Corpus:
        """The pictures."""
        return Corpus.draw(self.seed, self.pictures, ImageSize(self.height, self.width))


def read_reference(path: str) -> dict[str, list[Found]]:
    """Masks by prompt, as `loadtest.reference` writes them."""
    if not path:
        return {}
    written = json.loads(Path(path).read_text())
    return {name: [Found(s, tuple(b), a) for s, b, a in found] for name, found in written.items()}


def serve_plans(drive: Callable[[Plan], list[Record]]) -> None:
    """Work off the plans whose files are named on standard input, one a line; "done" on standard output after each."""
    print("ready", flush=True)
    for line in sys.stdin:
        plan = Plan.read(Path(line.strip()))
        write(Path(plan.out), drive(plan))
        print("done", flush=True)
