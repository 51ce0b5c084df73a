"""Measures the cost of metrics and logs per request: `python -m bench.metrics_cost`.

Side by side in one run: the CPU time of all of a server's processes for one click on a hot image, and the part of it
for counting, logging and reporting the click, in the process itself and in Ray's agent, which collects the metrics.
"""

import io
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import requests

from deployments.observe.metrics import NAMES
from deployments.observe.report import ServeMetrics
from deployments.protocol import Timings
from harness.figures import table
from harness.images import as_json, drawing
from harness.machine import this_machine
from harness.server import ServerProcess, server_process
from sam3_engine.types import ImageSize
from serve_app.http.around.access_log import AccessLog
from serve_app.http.around.exchange import Exchange
from serve_app.http.around.observe import Observation, RequestMetrics

CLICKS = 1000
QUIET_S = 10.0
REPEATS = 20_000
CLICK = {"points": [{"x": 70, "y": 80, "positive": True}]}
STAGES = ("transfer", "queue", "prompt", "post")
AGENT = "DashboardAgent"


def main() -> None:
    machine = this_machine()
    counting, logging_s = in_process()
    with tempfile.TemporaryDirectory() as name, server_process(Path(name), access_log="off") as server:
        whole, agent = of_a_click(server)
    print(machine.line())
    rows = [
        ("one click, all processes", whole),
        ("of it: counting, in the process", counting),
        ("of it: Ray's agent", agent),
        ("one line of the access log, besides", logging_s),
    ]
    print(table(["CPU", "us", "share"], [(name, f"{s * 1e6:.0f}", f"{s / whole:.2%}") for name, s in rows]))


def in_process() -> tuple[float, float]:
    """CPU seconds of counting one click, and of logging it."""
    metrics = ServeMetrics(interval_s=3600)  # never reports to Ray here: that part is measured in the server
    report = RequestMetrics(metrics, by_tenant=True)
    timings = Timings("0" * 32, cache="hot", stages=dict.fromkeys(STAGES, 0.004))
    exchange = Exchange(timings, "m", tenant="default", prompts=1)
    exchange.sizes = [ImageSize(480, 640)]
    seen = Observation(exchange, "POST", "/sam3/visual_segment", 200, 0.0123, 4000)

    def count() -> None:
        metrics.set(NAMES.in_flight, 1, route=seen.route)
        report(seen)
        for stage, seconds in exchange.timings.stages.items():
            metrics.observe(NAMES.stage_seconds, seconds, stage=stage)
        metrics.add(NAMES.cache_lookups, tier="hot")
        metrics.observe(NAMES.batch_size, 1, stage="prompt")
        metrics.set(NAMES.in_flight, 0, route=seen.route)

    log = AccessLog(logging.StreamHandler(io.StringIO()))
    return _cpu(count), _cpu(lambda: log(seen))


def _cpu(call: Callable[[], None]) -> float:
    started = time.process_time()
    for _ in range(REPEATS):
        call()
    return (time.process_time() - started) / REPEATS


def of_a_click(server: ServerProcess) -> tuple[float, float]:
    """CPU seconds of one click in all processes, and in Ray's agent, after subtracting the use without clicks."""
    with requests.Session() as session:
        image = {"image": as_json(drawing(1))}
        image_id = session.post(f"{server.url}/sam3/embed_image", json=image).json()["image_id"]

        def click() -> None:
            body = {"image_id": image_id, "prompts": [CLICK]}
            assert session.post(f"{server.url}/sam3/visual_segment", json=body).status_code == 200

        for _ in range(200):
            click()
        time.sleep(QUIET_S)
        before, at = used(server), time.monotonic()
        time.sleep(QUIET_S)
        quiet, quiet_s = used(server), time.monotonic() - at
        at = time.monotonic()
        for _ in range(CLICKS):
            click()
        time.sleep(3)  # until the processes have reported their metrics
        busy, busy_s = used(server), time.monotonic() - at
    found = []
    for which in ("", AGENT):
        idle_share = _sum(quiet, which) - _sum(before, which)
        found.append((_sum(busy, which) - _sum(quiet, which) - idle_share / quiet_s * busy_s) / CLICKS)
    return found[0], found[1]


def used(server: ServerProcess) -> dict[str, float]:
    """CPU seconds so far by process."""
    found = {}
    for process in server.descendants():
        try:
            times = process.cpu_times()
            found[f"{process.pid} {' '.join(process.cmdline())}"] = times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return found


def _sum(seconds: dict[str, float], part: str) -> float:
    return sum(value for name, value in seconds.items() if part in name)


if __name__ == "__main__":
    main()
