"""The plots of a report, as SVG to embed into an HTML page."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np

from harness.records import Record, by_kind
from loadtest.result import Result

mpl.use("svg")
mpl.rcParams.update(
    {"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "svg.fonttype": "none", "axes.axisbelow": True}
)


def plots(result: Result) -> dict[str, str]:
    """Pictures by title; a plot without data is left out."""
    found = {}
    if result.records:
        found["Latency of the steady load, by second"] = _over_time(result.records)
        found["Latency by percentile"] = _percentiles(result.records)
    if result.ramp:
        found["Latency and answers against the offered rate"] = _ramp(result)
    if result.usage.samples:
        found["Cores in use"] = _usage(result)
        found["Processes of each deployment"] = _replicas(result)
    return found


@contextmanager
def _axes(written: list[str], x: str, y: str) -> Iterator[Any]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
    yield axes
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    written.append(file.getvalue().partition("<svg")[2])


def _svg(written: Sequence[str]) -> str:
    return "<svg" + written[0]


def _over_time(records: Sequence[Record]) -> str:
    written: list[str] = []
    with _axes(written, "seconds", "ms (p50, and p95 dashed)") as axes:
        for kind, mine in by_kind(records).items():
            times, p50, p95 = [], [], []
            for second in range(int(max(r.due for r in records)) + 1):
                window = [r.seconds * 1000 for r in mine if second <= r.due < second + 1 and r.ok]
                if window:
                    times.append(second)
                    p50.append(np.percentile(window, 50))
                    p95.append(np.percentile(window, 95))
            (line,) = axes.plot(times, p50, label=kind)
            axes.plot(times, p95, "--", color=line.get_color(), linewidth=0.8)
        axes.set_yscale("log")
    return _svg(written)


def _percentiles(records: Sequence[Record]) -> str:
    written: list[str] = []
    shares = np.array([0, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.9])
    with _axes(written, "percentile", "ms") as axes:
        for kind, mine in by_kind(records).items():
            seconds = [record.seconds * 1000 for record in mine if record.ok]
            if seconds:
                axes.plot(-np.log10(1 - shares / 100), np.percentile(seconds, shares), ".-", label=kind)
        axes.set_xticks([0.0, 0.3, 1, 2, 3], ["0", "50", "90", "99", "99.9"])
        axes.set_yscale("log")
    return _svg(written)


def _ramp(result: Result) -> str:
    written: list[str] = []
    with _axes(written, "offered requests/s", "answers/s") as axes:
        offered = [point.offered for point in result.ramp]
        axes.plot(offered, offered, ":", color="grey", label="offered")
        axes.plot(offered, [point.achieved for point in result.ramp], ".-", label="answered")
        if result.knee:
            axes.axvline(result.knee.offered, color="green", linewidth=0.8)
        right = axes.twinx()
        right.plot(offered, [point.latency.p99 * 1000 for point in result.ramp], "r.-")
        right.axhline(result.objective_s * 1000, color="red", linestyle=":", linewidth=0.8)
        right.set_ylabel("p99, ms (red)")
        right.set_yscale("log")
        right.grid(visible=False)
    return _svg(written)


def _usage(result: Result) -> str:
    written: list[str] = []
    samples = result.usage.samples
    with _axes(written, "seconds", "cores") as axes:
        names = sorted(result.usage.groups, key=lambda name: -result.usage.groups[name].cores)
        rows = [[sample.cores.get(name, 0.0) for sample in samples] for name in names]
        axes.stackplot([sample.at for sample in samples], rows, labels=names)
    return _svg(written)


def _replicas(result: Result) -> str:
    written: list[str] = []
    samples = result.usage.samples
    with _axes(written, "seconds", "processes") as axes:
        for name in result.usage.groups:
            if name[:1].isupper():  # deployments, by their classes' names
                axes.step(
                    [sample.at for sample in samples], [s.processes.get(name, 0) for s in samples], label=name
                )
        axes.set_ylim(bottom=0)
    return _svg(written)
