"""Measures the server and its baselines in turns in one run: same weights, same cores, same requests.

    served   sam3-serve, over HTTP
    bare     the engine's calls in one process, one request after another: no server
    naive    one FastAPI process around the `sam3` package with a lock; encodes the image of every request
    peer     the same, with a cache of the full state of named images for clicks only

Each figure has its CPU time beside it: on a machine with other load, latency varies and CPU time does not.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.figures import ms, table
from harness.records import Figures, Record, figures
from harness.usage import Processes, cpu_seconds, server_behind, tree
from loadtest.plan import Plan
from loadtest.reference import Quiet, agreement, ask_quietly
from loadtest.scenarios import CONCEPT, VISUAL
from loadtest.workers import baseline_server, worker

ALONE = ("click", "one-prompt", "sixteen-prompts", "concept")
"""Scenarios with one client, which show the cost of serving."""
CROWD = ("click", "concept-hot", "concept", "annotator")
"""Scenarios with eight clients, which show the throughput of the cores."""
CLIENTS = 8
HEAD = ("scenario", "clients", "", "p50", "p99", "answers/s", "CPU/answer", "refused", "failed")


@dataclass(frozen=True)
class Contender:
    """The server, or one of its baselines."""

    name: str
    run: Callable[[Plan], list[Record]]
    url: str
    by_id: tuple[str, ...]
    """Routes on which it accepts an image's name alone."""
    processes: Processes
    quiet: Quiet
    """Its reference answers."""
    parallel: bool = True
    """The contender accepts several requests at a time."""


@dataclass(frozen=True)
class Cell:
    """The figures of one contender in one scenario with one number of clients."""

    scenario: str
    clients: int
    name: str
    figures: Figures
    per_s: float
    """Correctly answered requests per second."""
    cpu_ms: float
    """CPU time of all its processes for each of these requests."""


@dataclass(frozen=True)
class Comparison:
    """All cells. agreement: the share of prompts for which each baseline finds the same masks as our server."""

    cells: Sequence[Cell]
    agreement: dict[str, float]

    def ratios(self) -> dict[str, float]:
        """The figures that have targets in the design, and the ratios to the baselines."""
        at = {(cell.scenario, cell.clients, cell.name): cell for cell in self.cells}
        found: dict[str, float] = {}
        for (scenario, clients, name), other in at.items():
            served = at.get((scenario, clients, "served"))
            if name == "served" or served is None:
                continue
            if clients == 1:
                found[f"{scenario}: p50, served / {name}"] = (
                    served.figures.latency.p50 / other.figures.latency.p50
                )
                if name == "bare":
                    more = served.figures.latency.p50 - other.figures.latency.p50
                    found[f"{scenario}: p50, served - bare, ms"] = more * 1000
            else:
                found[f"{scenario}: answers a second, served / {name}"] = served.per_s / other.per_s
                found[f"{scenario}: CPU an answer, served / {name}"] = served.cpu_ms / other.cpu_ms
        one, sixteen = at.get(("one-prompt", 1, "served")), at.get(("sixteen-prompts", 1, "served"))
        if one and sixteen:
            found["16 prompts / 1 prompt: p50, served"] = (
                sixteen.figures.latency.p50 / one.figures.latency.p50
            )
        return found

    def rows(self) -> list[tuple[object, ...]]:
        """The cells as HEAD names their columns."""
        return [
            (
                cell.scenario,
                cell.clients,
                cell.name,
                ms(cell.figures.latency.p50),
                ms(cell.figures.latency.p99),
                f"{cell.per_s:.1f}",
                f"{cell.cpu_ms:.3g} ms",
                cell.figures.refused,
                cell.figures.failed,
            )
            for cell in self.cells
        ]

    def summary(self) -> list[tuple[str, str]]:
        """Ratios and agreement, each with its name."""
        agree = [(f"{name} finds the same masks", f"{share:.1%}") for name, share in self.agreement.items()]
        return [*((name, f"{value:.2f}") for name, value in self.ratios().items()), *agree]

    def tables(self) -> str:
        """All figures, as Markdown."""
        return f"{table(HEAD, self.rows())}\n\n{table(('ratio', ''), self.summary())}\n"


@contextmanager
def contenders(url: str, quiet: Quiet, plan: Plan, folder: Path, threads: int) -> Iterator[list[Contender]]:
    """Start all baselines. quiet: our server's reference; threads: torch's threads in each baseline."""
    model = ("--model", "tiny", "--threads", str(threads))
    with ExitStack() as stack:
        generator = stack.enter_context(worker(folder, "loadtest.drive"))
        bare = stack.enter_context(worker(folder, "loadtest.bare", str(threads), "tiny"))
        naive_url, naive_pid = stack.enter_context(baseline_server(*model))
        peer_url, peer_pid = stack.enter_context(baseline_server(*model, "--cache"))
        corpus = plan.corpus()
        naive, peer = ask_quietly(naive_url, corpus), ask_quietly(peer_url, corpus)
        yield [
            Contender("served", generator.run, url, (CONCEPT, VISUAL), server_behind(url), quiet),
            Contender("bare", bare.run, "", (), tree(bare.process.pid), quiet, parallel=False),
            Contender("naive", generator.run, naive_url, (), tree(naive_pid), naive),
            Contender("peer", generator.run, peer_url, (VISUAL,), tree(peer_pid), peer),
        ]


def compare(
    each: Sequence[Contender],
    plan: Plan,
    folder: Path,
    *,
    seconds: float = 2.0,
    rounds: int = 2,
    alone: Sequence[str] = ALONE,
    crowd: Sequence[str] = CROWD,
) -> Comparison:
    """Measure all contenders in turns, for `seconds` each. plan: gives the pictures and the key."""
    for one in each:
        one.quiet.write(folder / f"{one.name}.reference")
    gathered: dict[tuple[str, int, str], tuple[list[Record], float, float]] = {}
    asked = [(name, 1) for name in alone] + [(name, CLIENTS) for name in crowd]

    def planned(one: Contender, scenario: str, clients: int, seconds: float) -> Plan:
        return replace(
            plan,
            url=one.url,
            scenario=scenario,
            clients=clients if one.parallel else 1,
            rate=0.0,
            seconds=seconds,
            think=False,
            by_id=one.by_id,
            run=uuid.uuid4().hex,
            reference=str(folder / f"{one.name}.reference"),
        )

    for one in each:  # the bare engine encodes the images that the server has; caches fill
        one.run(planned(one, asked[0][0], 1, min(1.0, seconds)))
    for _ in range(rounds):
        for scenario, clients in asked:
            for one in each:
                mine = planned(one, scenario, clients, seconds)
                before = cpu_seconds(one.processes)
                new = one.run(mine)
                cpu = cpu_seconds(one.processes) - before
                place = (scenario, clients, one.name)
                records, spent, burnt = gathered.get(place, ([], 0.0, 0.0))
                spent += max([seconds, *(record.done for record in new)])
                gathered[place] = ([*records, *new], spent, burnt + cpu)
    cells = []
    for (scenario, clients, name), (records, spent, burnt) in gathered.items():
        found = figures(records)
        right = found.answered
        cells.append(Cell(scenario, clients, name, found, right / spent, burnt / max(right, 1) * 1000))
    served = next(one.quiet for one in each if one.name == "served")
    return Comparison(
        cells, {one.name: agreement(one.quiet, served) for one in each if one.quiet is not served}
    )
