"""The drawings of drills/scaling.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drills.scaling import Timeline
    from harness.offered import Outcome

WIDTH_IN, ROW_IN, DPI = 8.0, 1.6, 90


def _axes(rows: int) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt.subplots(
        rows, 1, sharex=True, squeeze=False, figsize=(WIDTH_IN, ROW_IN * rows), layout="constrained"
    )


def draw_timeline(seen: "Timeline", p99: Sequence[float], replicas: str, path: Path) -> None:
    """Offered load, replicas, queue and p99 over time, one below the other."""
    figure, axes = _axes(4)
    (load,), (count,), (queue,), (tail,) = axes
    load.step(seen.times, seen.rates, where="post", color="tab:gray")
    load.set_ylabel("offered\nrequests/s")
    both = [ready + soon for ready, soon in zip(seen.running, seen.starting, strict=True)]
    count.step(seen.times, both, where="post", color="tab:orange", linestyle=":", label="asked for")
    count.step(seen.times, seen.running, where="post", color="tab:blue", label="running")
    count.set_ylabel(replicas)
    count.legend(loc="upper right", fontsize="small")
    queue.plot(seen.times, seen.queue, color="tab:red")
    queue.set_ylabel("requests\nwaiting")
    tail.plot(seen.times, p99, color="tab:green")
    tail.set_ylabel("p99, s")
    tail.set_xlabel("seconds")
    for row in axes[:, 0]:
        row.set_ylim(bottom=0)
        for when, _ in seen.marks:
            row.axvline(when, color="lightgray", linewidth=0.8, zorder=0)
    for when, text in seen.marks:
        load.text(when, load.get_ylim()[1], text, fontsize="x-small", rotation=20, va="bottom")
    figure.savefig(path, dpi=DPI)


def draw_curve(
    rates: Sequence[float], goodput: Sequence[float], found: "Sequence[Outcome]", path: Path
) -> None:
    """Goodput and p99 over the offered load."""
    figure, axes = _axes(2)
    (good,), (tail,) = axes
    good.plot(rates, goodput, marker="o", label="answered")
    good.plot(rates, rates, color="lightgray", linestyle=":", label="offered")
    good.set_ylabel("requests/s")
    good.set_ylim(0, 1.3 * max(goodput))
    good.legend(loc="lower right", fontsize="small")
    tail.plot(rates, [one.latency.p99 for one in found], marker="o", color="tab:green", label="answered")
    tail.plot(rates, [one.refusal.p99 for one in found], marker="o", color="tab:red", label="refused")
    tail.set_ylabel("p99, s")
    tail.set_xlabel("offered requests/s")
    tail.set_ylim(bottom=0)
    tail.legend(loc="center right", fontsize="small")
    figure.savefig(path, dpi=DPI)
