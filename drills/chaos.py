"""Faults under steady load, on real processes: `make drill ONLY=chaos`, or `python -m drills.chaos --fault decoder`.

Prints for each fault how many requests were sent while it lasted, how many failed, and the longest time in
which nothing was answered. A refusal (503 with Retry-After) is not a failure: the request was not accepted.
"""

import argparse
import itertools
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from deployments.keys import content_digest, derived_id
from harness.cluster import Cluster, cluster, said, settings_of
from harness.figures import table
from harness.images import as_json, drawing, noise
from harness.machine import this_machine
from harness.offered import Offered, Outcome, offered, one_by_one, outcome
from harness.waiting import wait_until
from serve_app.cli.progress import Progress
from serve_app.settings import Settings

MOST, SHARE = 12.0, 0.5
"""Requests a second, or on a slow machine this share of its rate one by one: it also starts the dead processes
again."""
BEFORE_S, AFTER_S = 3.0, 5.0
"""Load before a fault, and after everything is as it was."""
KNOWN = 16
"""Small images that are asked for again and again; every fourth request brings a new, large one."""
ALL_SENT = 4 * KNOWN
"""Number of requests that bring every small image."""
UNDER_WAY_S = 2.0
"""Seconds that encoders stand still before the ingress dies whose images they wait for."""
NODE_CPUS = (os.cpu_count() or 1) + 1
"""Cores of the second node: as it has more than the first one, Ray would put both ingresses there."""
ON_SEVERAL_NODES = {f"{kind}_per_node": 1 for kind in ("ingress", "encoder", "decoder")}
"""Half of each kind on each node, as docs/scaling.md advises."""
PROXY_RECOVERY_S = 5.0
MOST_WAIT = 0.25
"""Slowest answer while a replica hangs beside one that works, at most, as a share of the time until all is well again.
A request that nobody takes from the hanging replica waits for most of that time."""
ENCODER, INGRESS = "ServeReplica:sam3:ImageEncoder", "ServeReplica:sam3:Ingress"
HANGS = ("hang", "hang-encoder")
ALLOWED_TO_FAIL = ("haproxy", "manager")
"""Faults that break connections which nobody can repeat but the client."""


def settings(**changes: Any) -> Settings:
    """Two of everything, small."""
    given: dict[str, Any] = {
        "ingress_replicas": 2,
        "encoder_replicas": 2,
        "decoder_replicas": 2,
        "pool_shards": 2,
        "object_store_bytes": "300MiB",
        "health_check_s": 2.0,
        "health_check_timeout_s": 3.0,
        **changes,
    }
    return settings_of(**given)


def ask(number: int) -> tuple[str, dict[str, Any]]:
    """Clicks and texts, three of four on images that were seen before; one of those names its image alone."""
    seen = number % 4
    content = drawing(number % KNOWN) if seen else noise(number)
    named = seen == 3 and number >= ALL_SENT
    image = {"image_id": derived_id(content_digest(content))} if named else {"image": as_json(content)}
    if seen in (1, 2):
        return "/sam3/concept_segment", {**image, "prompts": [{"type": "text", "text": "red circle"}]}
    return "/sam3/visual_segment", {
        **image,
        "prompts": [{"points": [{"x": 70, "y": 80, "positive": True}]}],
    }


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong. `strike` returns once it has happened and, if that takes time, is over."""

    name: str
    strike: Callable[[Cluster], None]
    text: str


def kill(running: Cluster, title: str) -> Callable[[], bool]:
    """kill -9 of one process whose title holds `title`. Returns a check that another such process is there."""
    there = running.processes(title)
    before = {process.pid for process in there}
    random.choice(there).kill()
    return lambda: any(process.pid not in before for process in running.processes(title))


def killed(title: str) -> Callable[[Cluster], None]:
    """`kill`; until another one is there."""

    def strike(running: Cluster) -> None:
        wait_until(kill(running, title))

    return strike


def stopped(title: str) -> Callable[[Cluster], None]:
    """SIGSTOP: the process is there and does nothing. Until its health check has taken it out."""

    def strike(running: Cluster) -> None:
        victim = random.choice(running.processes(title))
        victim.suspend()
        try:
            wait_until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE)
        finally:
            if victim.is_running():
                victim.resume()

    return strike


def node_killed(running: Cluster) -> None:
    """kill -9 of the second node, with all that runs on it; another node takes its place."""
    running.kill_node()
    running.add_node(NODE_CPUS)


def ingress_killed_with_new_images(running: Cluster) -> None:
    """kill -9 of an ingress while the encoders stand still: images that it brought are on their way to them."""
    encoders = running.processes(ENCODER)
    try:
        for encoder in encoders:
            encoder.suspend()
        time.sleep(UNDER_WAY_S)
        replaced = kill(running, INGRESS)
    finally:
        for encoder in encoders:
            with suppress(psutil.NoSuchProcess):  # on a slow machine its health check has had it replaced
                encoder.resume()
    wait_until(replaced)


FAULTS = (
    Fault("encoder", killed(ENCODER), "kill -9 an encoder"),
    Fault("decoder", killed("ServeReplica:sam3:PromptDecoder"), "kill -9 a decoder"),
    Fault("pool", killed("PoolShard"), "kill -9 a pool shard"),
    Fault("ingress", killed(INGRESS), "kill -9 an ingress replica"),
    Fault("images", ingress_killed_with_new_images, "kill -9 an ingress replica, images under way"),
    Fault("controller", killed("ServeController"), "kill -9 Serve's controller"),
    Fault("hang", stopped("ServeReplica:sam3:PromptDecoder"), "SIGSTOP a decoder"),
    Fault("hang-encoder", stopped(ENCODER), "SIGSTOP an encoder"),
    Fault("update", lambda running: running.deploy(decoder_batch_size=16), "rolling update of a setting"),
    Fault("model", lambda running: running.deploy(model="tiny"), "rolling update of the model"),
    Fault("haproxy", killed("haproxy.cfg"), "kill -9 HAProxy"),
    Fault("manager", killed("HAProxyManager"), "kill -9 HAProxy's manager"),
    Fault("node", node_killed, "kill -9 a worker node"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

    name: str
    text: str
    outcome: Outcome
    recovery_s: float
    """Seconds from the fault until every deployment has its replicas again."""
    answered_after: int
    """Requests that were answered in the last AFTER_S."""

    @property
    def good(self) -> bool:
        """True if the fault went as it must: no request failed, and in a fault that hangs none waited over MOST_WAIT.

        Of a fault in ALLOWED_TO_FAIL only the stall counts.
        """
        if self.name in ALLOWED_TO_FAIL:
            return self.outcome.stall_s < PROXY_RECOVERY_S
        if self.name in HANGS and self.outcome.latency.max > MOST_WAIT * self.recovery_s:
            return False
        return self.outcome.failed == 0


def strike(fault: Fault, running: Cluster, load: Offered) -> Result:
    """One fault, and the requests that were sent from shortly before it until shortly after it."""
    time.sleep(BEFORE_S)
    begin = time.monotonic()
    fault.strike(running)
    recovery_s = time.monotonic() - begin + wait_until(running.settled)
    time.sleep(AFTER_S)
    finish = time.monotonic()
    wait_until(lambda: not any(begin - BEFORE_S <= sent < finish for sent in list(load.waiting.values())))
    whole, after = (outcome(load.answers, since, finish) for since in (begin - BEFORE_S, finish - AFTER_S))
    return Result(fault.name, fault.text, whole, recovery_s, after.answered)


def run(names: Sequence[str], rate: float, show: Progress) -> tuple[float, list[Result]]:
    """The faults one after the other on one cluster, and the rate of requests: 0 stands for what it carries."""
    chosen = [fault for name in names for fault in FAULTS if fault.name == name]
    results = []
    extra, spread = (NODE_CPUS, ON_SEVERAL_NODES) if "node" in names else (0, {})
    if extra:  # as docs/scaling.md advises for several nodes
        os.environ.update({"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"})
    with cluster(settings(**spread), show, extra) as running:
        rate = rate or min(MOST, SHARE * one_by_one(running.url, ask, ALL_SENT))
        with offered(running.url, ask, rate) as load:
            for fault in chosen:
                results.append(strike(fault, running, load))
                show(line(results[-1]))
    return rate, results


def line(result: Result) -> str:
    """The fault, its requests, failures and stall in a line, then the errors."""
    found = result.outcome
    text = f"{result.text}: {found.requests} requests, {found.failed} failed, {found.stall_s:.1f} s stall"
    return "\n".join([text, *found.errors])


def report(results: Sequence[Result]) -> str:
    """The table."""
    rows = [
        (
            result.text,
            result.outcome.requests,
            result.outcome.refused,
            result.outcome.failed,
            f"{result.outcome.stall_s:.1f} s",
            f"{result.outcome.latency.max:.1f} s",
            f"{result.recovery_s:.1f} s",
        )
        for result in results
    ]
    head = ("fault", "requests", "refused", "failed", "longest stall", "slowest answer", "all replicas back")
    errors = sorted(set(itertools.chain.from_iterable(result.outcome.errors for result in results)))
    return "\n".join([table(head, rows), *(f"- {error}" for error in errors)])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choices = [fault.name for fault in FAULTS]
    parser.add_argument("--fault", action="append", choices=choices, help="several, or one several times")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="requests a second, instead of what it carries"
    )
    parser.add_argument("--json", type=Path, help="write the results here too")
    options = parser.parse_args()
    names = options.fault or choices
    rate, results = run(names, options.rate, said)
    print(this_machine().line())
    print(f"{rate:.1f} requests a second, two replicas of each kind\n")
    print(report(results))
    if options.json:
        options.json.write_text(json.dumps([{**asdict(one), "good": one.good} for one in results]))
    return 0 if all(result.good for result in results) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
