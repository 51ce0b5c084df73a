"""Scaling up and down, and refusing: `make drill ONLY=scaling`, or `python -m drills.scaling`.

1. Burst: one hot decoder, load for several; and the way back to one when it is over.
2. From zero: nothing runs, a request comes.
3. Overload: up to three times what the server can answer, with fixed replicas.

Prints tables, and draws offered load, replicas, queue and p99 over time. Exits with 1 when a request failed; refusals
are no failures.
"""

import argparse
import itertools
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from drills.scaling_plot import draw_curve, draw_timeline
from drills.starts import starts
from harness.cluster import Cluster, cluster, said, settings_of
from harness.figures import latency, ms, table
from harness.images import as_json, drawing
from harness.machine import this_machine
from harness.offered import Answer, Offered, offered, outcome
from harness.waiting import wait_until
from serve_app.settings import Settings

OUTPUT = Path(__file__).parents[1] / "docs" / "images"
SAMPLE_S = 0.5
WINDOW_S = 3.0
"""Over which p99 is taken in the drawing."""
KNOWN = 8
PHRASES = ("red circle", "blue square", "green star", "yellow triangle")
STEPS = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0)
"""Offered load as multiples of the sustainable one."""
STEP_S = 12.0
CLIENTS = 16
"""Clients that send one request after the other, to find the sustainable rate."""
RATE = 30.0
"""The sustainable rate where it was not measured."""
BURST, BURST_S = 1.8, 30.0
"""Times the sustainable rate of one decoder, and for how long."""


def settings(**changes: Any) -> Settings:
    """Small, untrained, and one thread a replica, so that a second replica is worth something on two cores."""
    return settings_of(
        **{"object_store_bytes": "300MiB", "encoder_threads": 1, "decoder_threads": 1, **changes}
    )


def ask(number: int) -> tuple[str, dict[str, Any]]:
    """Four phrases on an image that was seen before: work for a decoder."""
    prompts = [{"type": "text", "text": phrase} for phrase in PHRASES]
    return "/sam3/concept_segment", {"image": as_json(drawing(number % KNOWN)), "prompts": prompts}


@dataclass
class Timeline:
    """The load and the decoders, sampled every SAMPLE_S. Times in seconds since the beginning."""

    began: float = field(default_factory=time.monotonic)
    clock: float = field(default_factory=time.time)
    """The same moment, as logs name it."""
    times: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    starting: list[int] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)
    """Requests sent and not answered."""
    marks: list[tuple[float, str]] = field(default_factory=list)

    def mark(self, text: str) -> float:
        """Note an event; its time."""
        self.marks.append((time.monotonic() - self.began, text))
        return self.marks[-1][0]

    def first(self, count: int, since: float, starting: bool = False) -> float:
        """Seconds from `since` until so many decoders answered, or were starting; NaN when that never was."""
        seen = zip(self.times, self.running, self.starting, strict=True)
        enough = (t for t, ready, soon in seen if t >= since and ready + starting * soon >= count)
        return next(enough, float("nan")) - since

    def p99(self, answers: Sequence[Answer]) -> list[float]:
        """The p99 latency at each time, in seconds, of the requests answered within WINDOW_S before it."""
        return [
            latency([a.seconds for a in answers if a.ok and t - WINDOW_S <= a.done - self.began < t]).p99
            for t in self.times
        ]


@contextmanager
def watched(running: Cluster, load: Offered) -> Iterator[Timeline]:
    """Sample while the block runs."""
    seen, stop = Timeline(), threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLE_S):
            decoders = running.replicas()["PromptDecoder"]
            seen.times.append(time.monotonic() - seen.began)
            seen.rates.append(load.rate)
            seen.running.append(decoders.get("RUNNING", 0))
            seen.starting.append(decoders.get("STARTING", 0))
            seen.queue.append(len(load.waiting))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def burst_and_zero(sustainable: float, output: Path) -> tuple[int, str]:
    """Parts 1 and 2: failed requests, and the table. sustainable: requests a second of one decoder."""
    chosen = settings(
        decoder_max_replicas=3,
        decoder_queue_target=8,
        scale_down_after_s=10,
        scale_down_step_s=4,
        scale_to_zero_after_s=20,
        max_in_flight=1024,
    )
    low, high = 0.2 * sustainable, BURST * sustainable
    with cluster(chosen, said) as running, offered(running.url, ask, low, reconnect=False) as load:
        time.sleep(5)  # every image is known now
        with watched(running, load) as seen:
            time.sleep(8)
            begin = seen.mark("burst")
            load.rate = high
            time.sleep(BURST_S)
            _, second, *_ = starts(running.logs, "PromptDecoder")
            load.rate = low
            seen.mark("over")
            wait_until(lambda: len(load.waiting) < 4)
            answered = seen.mark("worked off")
            said("waiting for the way back to one decoder")
            wait_until(lambda: seen.running[-1] == 1 and not seen.starting[-1])
            back = seen.mark("one again")
            load.rate = 0
            said("waiting for zero")
            wait_until(lambda: not seen.running[-1])
            seen.mark("zero")
            time.sleep(3)
            woken = seen.mark("a request")
            load.rate = low
            time.sleep(20)
    held = [answer for answer in load.answers if answer.sent - seen.began >= woken]
    whole = outcome(load.answers, seen.began, time.monotonic())
    draw_timeline(seen, seen.p99(load.answers), "decoders", output / "scaling-burst.png")
    asked, answers = (seen.first(2, begin, starting=soon) for soon in (True, False))
    rows = [
        ("requests, refused, failed", f"{whole.requests}, {whole.refused}, {whole.failed}"),
        ("second decoder asked for after", f"{asked:.1f} s"),
        ("second decoder answers after", f"{answers:.1f} s"),
        *second.rows(seen.clock + begin + asked, seen.clock + begin + answers),
        ("third decoder answers after", f"{seen.first(3, begin):.1f} s"),
        ("most decoders", max(seen.running)),
        (
            "p99 in the burst's last 10 s",
            ms(in_span(load.answers, seen, begin + BURST_S - 10, begin + BURST_S)),
        ),
        ("one decoder again after the burst was worked off", f"{back - answered:.1f} s"),
        ("from zero: first answer after", f"{min(one.done for one in held) - seen.began - woken:.1f} s"),
        (
            "from zero: refused, failed",
            f"{sum(one.refused for one in held)}, {sum(not (one.ok or one.refused) for one in held)}",
        ),
    ]
    failed = sum(not (one.ok or one.refused) for one in load.answers)
    return failed, table(
        (f"burst from {low:.0f} to {high:.0f} requests a second for {BURST_S:.0f} s", ""), rows
    )


def in_span(answers: Sequence[Answer], seen: Timeline, begin: float, finish: float) -> float:
    """p99 of the requests answered in a span of the timeline, in seconds."""
    done = [one.seconds for one in answers if one.ok and begin <= one.done - seen.began < finish]
    return latency(done).p99


def overload(output: Path) -> tuple[float, int, str]:
    """Part 3: the sustainable rate, failed requests, and the table."""
    with cluster(settings(), said) as running:
        with offered(running.url, ask, 4):
            time.sleep(5)
        rate = closed_loop(running.url)
        said(f"sustainable: {rate:.1f} requests a second")
        outcomes = []
        for step in STEPS:
            with offered(running.url, ask, step * rate, reconnect=False) as load:
                begin = time.monotonic()
                time.sleep(STEP_S)
                finish = time.monotonic()
            outcomes.append(outcome(load.answers, begin, finish))
            said(f"{step:g} times that: {outcomes[-1].answered / STEP_S:.1f} answered a second")
    goodput = [found.answered / STEP_S for found in outcomes]
    draw_curve([step * rate for step in STEPS], goodput, outcomes, output / "scaling-overload.png")
    rows = [
        (
            f"{step:g} x",
            f"{step * rate:.1f}/s",
            f"{good:.1f}/s",
            f"{good / max(goodput):.0%}",
            found.refused,
            found.failed,
            ms(found.latency.p50),
            ms(found.latency.p99),
            ms(found.refusal.p50) if found.refused else "",
            ms(found.refusal.p99) if found.refused else "",
        )
        for step, good, found in zip(STEPS, goodput, outcomes, strict=True)
    ]
    head = ("offered", "", "answered", "of the peak", "refused", "failed", "p50", "p99", "refusal p50", "p99")
    return rate, sum(found.failed for found in outcomes), table(head, rows)


def closed_loop(url: str) -> float:
    """Requests a second that are answered when CLIENTS ask one after the other, in the second half of STEP_S."""
    ends: list[float] = []
    stop = time.monotonic() + STEP_S

    def client(which: int) -> None:
        with requests.Session() as session:
            for number in itertools.count(which):
                if time.monotonic() > stop:
                    return
                route, body = ask(number)
                if session.post(url + route, json=body, timeout=60).status_code == 200:
                    ends.append(time.monotonic())
                else:  # a refusal says how long to wait
                    time.sleep(1)

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(client, range(CLIENTS)))
    return sum(stop - STEP_S / 2 <= end < stop for end in ends) / (STEP_S / 2)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the drawings")
    parser.add_argument("--only", choices=["overload", "burst"])
    parser.add_argument(
        "--rate", type=Path, help="file with the sustainable rate: overload writes it, burst reads it"
    )
    options = parser.parse_args()
    if options.only == "overload":
        rate, failed, text = overload(options.output)
        if options.rate:
            options.rate.write_text(str(rate))
    elif options.only == "burst":
        rate = float(options.rate.read_text()) if options.rate else RATE
        failed, text = burst_and_zero(rate, options.output)
    else:
        return both(options.output)
    print(text + "\n", flush=True)
    return 1 if failed else 0


def both(output: Path) -> int:
    """Ray and Serve read their settings when they are imported: a process for each cluster. The exit status."""
    print(this_machine().line() + "\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        given = ["--rate", f"{folder}/rate", "--output", str(output)]
        parts = ("overload", "burst")
        programs = ([sys.executable, "-m", "drills.scaling", "--only", part, *given] for part in parts)
        return max(subprocess.run(program, check=False).returncode for program in programs)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
