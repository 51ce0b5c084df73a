"""Writes the report of a load test: one self-contained page, and the same data as JSON."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from harness.figures import Latency, ms
from loadtest.baselines import HEAD
from loadtest.plots import plots
from loadtest.result import Point, Result

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: .6rem 0 1.4rem; font-size: 14px }
td, th { padding: .15rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
td:first-child, th:first-child { text-align: left } h2 { margin-top: 2rem } svg { max-width: 100%; height: auto }
code { background: #f3f3f3; padding: .1rem .3rem }
"""


def write(result: Result, folder: Path, name: str) -> Path:
    """Write NAME.html and NAME.json into a folder; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{name}.html"
    page.write_text(_page(result), encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(as_dict(result), indent=1), encoding="utf-8")
    return page


def as_dict(result: Result) -> dict[str, object]:
    """The result without the records of single requests."""
    return {
        "scenario": result.scenario,
        "command": result.command,
        "machine": result.machine,
        "settings": result.settings,
        "p99_objective_s": result.objective_s,
        "answers": {"compared_prompts": result.checked, "click_iou_with_drawing": result.click_iou},
        "closed_loop": [asdict(point) for point in result.sweep],
        "open_loop": [asdict(point) for point in result.ramp],
        "knee": asdict(result.knee) if result.knee else None,
        "steady": asdict(result.steady) if result.steady else None,
        "by_kind": {kind: asdict(found) for kind, found in result.by_kind().items()}
        if result.records
        else {},
        "cache_lookups": result.tiers,
        "processes": {name: asdict(group) for name, group in result.usage.groups.items()},
        "timeline": [asdict(sample) for sample in result.usage.samples],
        "baselines": [asdict(cell) for cell in result.comparison.cells] if result.comparison else [],
        "ratios": result.comparison.ratios() if result.comparison else {},
        "same_masks": result.comparison.agreement if result.comparison else {},
    }


def _page(result: Result) -> str:
    title = f"sam3-serve under load: {result.scenario}"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>",
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1>",
        f"<p><code>{html.escape(result.command)}</code></p>",
        _table(("", ""), [(name, _text(value)) for name, value in result.machine.items()]),
        _table(("setting", ""), [(name, _text(value)) for name, value in result.settings.items()]),
        f"<p>{_verdict(result)}</p>",
        f"<p>Answers were checked for their form, and those to {result.checked} prompts against what the server had "
        "answered to the same prompt before the load, one request at a time (clicked masks there: mean IoU with the "
        f"drawing {result.click_iou:.2f}). An answer that is wrong counts as failed.</p>",
        *_steady(result),
        "<h2>Closed loop: so many clients, each with one request at a time, no thinking</h2>",
        _table(("clients", *POINT), [(point.clients, *_point(point)) for point in result.sweep]),
        "<h2>Open loop: sessions begin by a Poisson process, requests are timed from when they were due</h2>",
        _table(
            ("sessions/s", *POINT), [(f"{point.sessions_per_s:.2f}", *_point(point)) for point in result.ramp]
        ),
        *_comparison(result),
        *(f"<h3>{html.escape(name)}</h3>{svg}" for name, svg in plots(result).items()),
    ]
    return "\n".join(parts) + "</html>\n"


def _verdict(result: Result) -> str:
    objective = ms(result.objective_s)
    if not result.ramp:
        return "No ramp was run."
    if result.knee is None:
        return f"No offered load met the objective of p99 &le; {objective} without a failure."
    return (
        f"<b>Knee: {result.knee.offered:.1f} requests/s</b> ({result.knee.sessions_per_s:.2f} sessions/s), the highest "
        f"load of the ramp that met p99 &le; {objective} with nothing refused or failed; p99 there "
        f"{ms(result.knee.latency.p99)}."
    )


LATENCY = ("p50", "p90", "p95", "p99", "max")
POINT = ("offered/s", "answered/s", *LATENCY, "refused", "failed", "generator late, p99")


def _latency(found: Latency) -> tuple[str, ...]:
    return tuple(ms(value) for value in (found.p50, found.p90, found.p95, found.p99, found.max))


def _point(point: Point) -> tuple[object, ...]:
    rates = (f"{point.offered:.1f}", f"{point.achieved:.1f}")
    return (*rates, *_latency(point.latency), point.refused, point.failed, ms(point.late_s))


def _load(point: Point) -> str:
    if point.clients:
        return f"{point.clients} clients, each with one request at a time"
    return f"{point.sessions_per_s:.2f} sessions/s"


def _steady(result: Result) -> list[str]:
    if result.steady is None:
        return []
    kinds = result.by_kind()
    stages = sorted({stage for found in kinds.values() for stage in found.stages})
    return [
        f"<h2>Steady load: {result.steady_s:.0f} s, {_load(result.steady)}</h2>",
        _table(("", *POINT), [("all", *_point(result.steady))]),
        _table(
            ("", "requests", "refused", "failed", *LATENCY, "cached", "errors"),
            [
                (
                    kind,
                    found.requests,
                    found.refused,
                    found.failed,
                    *_latency(found.latency),
                    _text(found.cache),
                    _text(found.errors),
                )
                for kind, found in kinds.items()
            ],
        ),
        "<h3>Median milliseconds by stage (Server-Timing)</h3>",
        _table(("", *stages), [(kind, *(f.stages.get(s, "") for s in stages)) for kind, f in kinds.items()]),
        "<h3>Cache lookups by tier</h3>" if result.tiers else "",
        _table(tuple(result.tiers), [tuple(f"{v:.0f}" for v in result.tiers.values())])
        if result.tiers
        else "",
        "<h3>Processes</h3>",
        _table(
            ("", "processes", "cores in use", "own memory, MiB"),
            [(name, g.processes, g.cores, g.memory_mib) for name, g in result.usage.groups.items()],
        ),
    ]


def _comparison(result: Result) -> list[str]:
    if result.comparison is None:
        return []
    return [
        "<h2>Beside the baselines, in turns in this run</h2>",
        "<p>bare: the engine's calls in one process, no server. naive: one FastAPI process around the sam3 package, a "
        "lock, an encode for every request. peer: the same with a cache of the full state, for clicks only.</p>",
        _table(HEAD, result.comparison.rows()),
        _table(("ratio", ""), result.comparison.summary()),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in rows
    )
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    return f"<table><tr>{top}</tr>{cells}</table>"


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
    return f"{value:.1f}" if isinstance(value, float) else str(value)
