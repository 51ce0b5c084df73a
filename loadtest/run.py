"""A load test from start to report: `make loadtest SCENARIO=mixed URL=http://... DURATION=60`.

Without a URL it starts a server of its own. In order: the quiet reference, a closed-loop sweep, an open-loop ramp to
the knee, a steady open-loop load for DURATION seconds at 70 % of the knee, and the baselines.
"""

import argparse
import os
import re
import shlex
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx

from harness.exposed import settled
from harness.figures import ms
from harness.machine import this_machine
from harness.server import ROOT, get, server_process
from harness.usage import server_behind, watched
from loadtest.baselines import ALONE, CROWD, Comparison, compare, contenders
from loadtest.plan import Plan
from loadtest.reference import Quiet, ask_quietly, warm
from loadtest.report import write
from loadtest.result import Point, Result, knee, point
from loadtest.scenarios import SCENARIOS, Traffic
from loadtest.workers import Worker, best_threads, worker

CLIENTS = (1, 2, 4, 8, 16)
RAMP = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
"""Offered loads, as shares of the closed loop's sessions per second."""
STEADY = 0.7
"""The steady load, as a share of the knee."""
SETTLE_S, PATIENCE_S = 2.5, 30.0
"""Seconds without a change after which a server's metrics are complete, and the most seconds to wait for that."""
TIERS = re.compile(r'^(?:ray_)?sam3_cache_lookups_total\{[^}]*tier="(\w+)"[^}]*\} ([\d.e+]+)', re.MULTILINE)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="mixed")
    parser.add_argument("--url", default="", help="a server that is up; without: one is started")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds of the steady load")
    parser.add_argument(
        "--step", type=float, default=0.0, help="seconds of each load before it (a sixth of it)"
    )
    parser.add_argument(
        "--rate", type=float, default=0.0, help="steady sessions a second, instead of the knee's"
    )
    parser.add_argument(
        "--p99-ms", type=float, default=500.0, help="the objective that the knee is sought under"
    )
    parser.add_argument("--pictures", type=int, default=16, help="scenes to draw")
    parser.add_argument("--size", default="640x480", help="of the images, in pixels")
    parser.add_argument(
        "--seed", type=int, default=None, help="draws the scenes; without: another one each run"
    )
    parser.add_argument("--key", default=os.environ.get("SAM3_API_KEY", ""), help="API key")
    parser.add_argument("--baselines", choices=("full", "small", "none"), default="full")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    parser.add_argument("--name", default="", help="of the report's files")
    return parser.parse_args(arguments)


@contextmanager
def server(url: str, folder: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """The URL of the server to load, and its known settings."""
    if url:
        yield url.rstrip("/"), {"server": "was up already", **(get(url.rstrip("/") + "/info") or {})}
        return
    given = {name: value for name, value in os.environ.items() if name.startswith("SAM3_")}
    settings = {
        name.removeprefix("SAM3_").lower(): value for name, value in given.items() if "KEY" not in name
    }
    settings.setdefault("model", "tiny")
    settings.setdefault("object_store_bytes", "1GiB")
    print("starting a server", flush=True)
    with server_process(folder, root=ROOT, **settings) as started:
        known: dict[str, object] = {name: value for name, value in settings.items() if name != "port"}
        yield started.url, {"server": "started for this run", **(get(started.url + "/info") or {}), **known}


def sweep(generator: Worker, plan: Plan, seconds: float) -> list[Point]:
    """Closed loops with growing numbers of clients."""
    points = []
    for clients in CLIENTS:
        mine = replace(plan, clients=clients, seconds=seconds, think=False, run=uuid.uuid4().hex)
        points.append(point(generator.run(mine), seconds, clients=clients))
        _say(points[-1])
    return points


def ramp(generator: Worker, plan: Plan, seconds: float, most: float, objective_s: float) -> list[Point]:
    """Open loops with up to `most` sessions per second. Ends after the first load that misses the objective."""
    points: list[Point] = []
    for share in RAMP:
        mine = replace(plan, rate=share * most, seconds=seconds, run=uuid.uuid4().hex)
        points.append(point(generator.run(mine), seconds, sessions_per_s=mine.rate))
        _say(points[-1])
        if not points[-1].meets(3 * objective_s):
            break
    return points


def load(asked: argparse.Namespace, url: str, settings: dict[str, object], folder: Path) -> Result:
    """The whole test of one server."""
    width, height = (int(side) for side in asked.size.split("x"))
    seed = asked.seed if asked.seed is not None else time.time_ns() % 10**6
    plan = Plan(
        url, asked.scenario, asked.duration, seed=seed, pictures=asked.pictures, height=height, width=width,
        api_key=asked.key, reference=str(folder / "reference.json"),
    )  # fmt: skip
    corpus = plan.corpus()
    print("asking for the reference, quietly", flush=True)
    quiet = ask_quietly(url, corpus, asked.key)
    quiet.write(Path(plan.reference))
    warm(url, corpus, asked.key)
    result = Result(
        asked.scenario,
        command(asked),
        this_machine().as_dict(),
        {**settings, "images": asked.size, "seed": seed},
        asked.p99_ms / 1000,
        quiet.click_iou,
        len(quiet.found),
    )
    step = asked.step or max(2.0, asked.duration / 6)
    with worker(folder, "loadtest.drive") as generator:
        result.sweep = sweep(generator, plan, step)
        steady = replace(plan, run=uuid.uuid4().hex)
        fastest = max(result.sweep, key=lambda one: one.achieved)
        if asked.scenario == "bulk":  # bulk has no latency objective: only throughput counts
            steady = replace(steady, clients=fastest.clients)
        else:
            most = fastest.achieved / _requests(plan)
            result.ramp = ramp(generator, plan, step, most, result.objective_s)
            best = knee(result.ramp, result.objective_s)
            rate = asked.rate or (STEADY * best.sessions_per_s if best else RAMP[0] * most)
            steady = replace(steady, rate=rate)
        _steady(result, generator, steady)
    result.comparison = baselines(asked, url, quiet, plan, folder)
    return result


def _requests(plan: Plan) -> float:
    """Mean number of requests in a session."""
    traffic = Traffic(plan.corpus(), "")
    return sum(len(traffic.session(plan.scenario)) for _ in range(500)) / 500


def _steady(result: Result, generator: Worker, plan: Plan) -> None:
    """Run the steady load, and record usage, processes and cache tiers."""
    print(f"steady for {plan.seconds:.0f} s", flush=True)
    before = settled_tiers(plan.url)
    with watched(server_behind(plan.url)) as result.usage:
        result.records = generator.run(plan)
    result.steady = point(result.records, plan.seconds, plan.clients, plan.rate)
    result.steady_s = plan.seconds
    _say(result.steady)
    after = settled_tiers(plan.url, before if result.steady.achieved else None)
    result.tiers = {tier: count - before.get(tier, 0.0) for tier, count in after.items()}


def tiers(url: str) -> dict[str, float]:
    """Cache lookups by tier so far, from the server's metrics."""
    counts: dict[str, float] = {}
    try:
        text = httpx.get(f"{url}/metrics", timeout=10.0).text
    except httpx.HTTPError:
        return counts
    for tier, count in TIERS.findall(text):
        counts[tier] = counts.get(tier, 0.0) + float(count)
    return counts


def settled_tiers(url: str, other_than: dict[str, float] | None = None) -> dict[str, float]:
    """`tiers`, once they no longer change and differ from `other_than`, or else after PATIENCE_S."""
    return settled(lambda: tiers(url), SETTLE_S, PATIENCE_S, lambda found: not found or found != other_than)


def baselines(
    asked: argparse.Namespace, url: str, quiet: Quiet, plan: Plan, folder: Path
) -> Comparison | None:
    """The comparison; None if it is switched off, or would compare different machines or weights."""
    if (
        asked.baselines == "none"
        or not server_behind(url)()
        or (get(url + "/info") or {}).get("model") != "tiny"
    ):
        return None
    print("the baselines, in turns", flush=True)
    with contenders(url, quiet, plan, folder, best_threads("tiny")) as each:
        if asked.baselines == "small":
            found = compare(each, plan, folder, seconds=0.5, rounds=1, alone=("click",), crowd=("concept",))
        else:
            found = compare(each, plan, folder, alone=ALONE, crowd=CROWD)
    print(found.tables(), flush=True)
    return found


def command(asked: argparse.Namespace) -> str:
    """The command line that repeats the run."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in _variables().items()]
    words = [
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in vars(asked).items()
        if name not in ("key", "out", "name") and value not in ("", None, 0.0)
    ]
    return " ".join([*variables, "python -m loadtest.run", *words])


def _variables() -> dict[str, str]:
    """The settings of the environment, without keys."""
    return {name: v for name, v in os.environ.items() if name.startswith("SAM3_") and "KEY" not in name}


def _say(one: Point) -> None:
    load = f"{one.clients} clients" if one.clients else f"{one.sessions_per_s:.2f} sessions/s"
    print(
        f"{load:>16}: offered {one.offered:.1f}/s, answered {one.achieved:.1f}/s, p50 {ms(one.latency.p50)}, "
        f"p99 {ms(one.latency.p99)}, refused {one.refused}, failed {one.failed}",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report. Returns 1 when a request of the steady load failed; refused requests do not count as failed."""
    asked = parse(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="sam3-loadtest-") as name,
        server(asked.url, Path(name)) as (url, known),
    ):
        result = load(asked, url, known, Path(name))
    page = write(result, asked.out, asked.name or f"loadtest-{asked.scenario}")
    print(f"{page} and {page.with_suffix('.json').name}")
    failed = result.steady.failed if result.steady else 0
    if failed:
        print(f"{failed} requests of the steady load failed", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
