"""`sam3-serve top`: a live view of a running server, from its GET /metrics alone."""

import time
from collections import deque
from collections.abc import Callable, Mapping

import click
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from serve_app.cli.client import Unanswered, read
from serve_app.cli.top_figures import Figures, Row, Scrape, figures

SPAN_S = 15.0
"""Seconds over which rates are computed. Processes report every few seconds, so over less time rates would jump."""
TIMEOUT_S = 10.0
PARTS = {"ingress": "Ingress", "decoder": "PromptDecoder", "encoder": "ImageEncoder"}
TIERS = ("hot", "warm", "joined", "cold", "miss")


def run(url: str, every_s: float, once: bool) -> None:
    """Show the view until Ctrl-C, or one time with `once` or without a terminal. Raises click.ClickException."""
    console = Console()
    past: deque[Scrape] = deque()
    try:
        past.append(scrape(url))
        if once or not console.is_terminal:
            time.sleep(every_s)
            past.append(scrape(url))
    except Unanswered as error:
        raise click.ClickException(f"cannot read {url}/metrics: {error}") from error
    if len(past) > 1:
        console.print(view(url, figures(past[0], past[-1])))
        return
    with Live(view(url, figures(past[0], past[0])), console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every_s)
                live.update(_next(url, past, lambda: scrape(url)), refresh=True)
        except KeyboardInterrupt:
            return


def scrape(url: str) -> Scrape:
    """The server's current metrics. Raises Unanswered."""
    content = read(f"{url}/metrics", TIMEOUT_S)
    try:
        return Scrape.read(content.decode(), time.monotonic())
    except ValueError:
        raise Unanswered("there are no figures of sam3-serve at this address") from None


def _next(url: str, past: deque[Scrape], read: Callable[[], Scrape]) -> RenderableType:
    problem = ""
    try:
        past.append(read())
    except Unanswered as error:
        problem = str(error)
    while len(past) > 2 and past[-1].at - past[1].at >= SPAN_S:
        past.popleft()
    return view(url, figures(past[0], past[-1]), problem)


def view(url: str, seen: Figures, problem: str = "") -> RenderableType:
    """The whole screen. problem: the reason why the figures are out of date."""
    head = Text.assemble(
        ("sam3-serve ", "bold"), url, f"   {seen.requests_per_s:.1f} requests/s",
        (f"   {seen.failed_per_s:.1f} failed/s", "bold red" if seen.failed_per_s else "dim"),
        (f"   over {seen.span_s:.0f} s", "dim"),
    )  # fmt: skip
    if silent := seen.nodes.get("silent"):
        head.append(f"   {silent:.0f} nodes silent", "bold red")
    if problem:
        head.append(f"\nno new figures: {problem}", "bold red")
    return Group(
        head,
        Columns([_rows("Routes", seen.routes, now=True), _rows("Stages", seen.stages)], padding=(0, 1)),
        Columns([_replicas(seen), _cache(seen)], padding=(0, 1)),
    )


def _rows(title: str, rows: list[Row], now: bool = False) -> RenderableType:
    table = _table("", "/s", "p50", "p99", *(["now"] if now else []))
    for row in rows:
        cells = [row.name, f"{row.per_s:.1f}", _seconds(row.p50), _seconds(row.p99)]
        table.add_row(
            *cells, *([f"{row.now:.0f}"] if now else []), style="" if row.per_s or row.now else "dim"
        )
    return Panel(table, title=title, title_align="left")


def _replicas(seen: Figures) -> RenderableType:
    table = _table("", "ready", "target", "waiting")
    for part in dict.fromkeys([*PARTS, *sorted(seen.processes)]):
        ready = seen.processes.get(part, 0.0)
        targets = _of_part(seen.targets, part)
        target = sum(targets) if targets else None
        cells = [
            f"{ready:.0f}",
            "" if target is None else f"{target:.0f}",
            f"{sum(_of_part(seen.queued, part)):.0f}",
        ]
        table.add_row(part, *cells, style="bold red" if target is not None and ready < target else "")
    for gpu, share in sorted(seen.gpus.items()):
        table.add_row(f"GPU {gpu}", f"{share:.0%}", "", "")
    return Panel(table, title="Processes", title_align="left")


def _of_part(figures: Mapping[str, float], part: str) -> list[float]:
    """A part's figures by deployment. Several models have several deployments: `PromptDecoder-cars`."""
    name = PARTS.get(part)
    return [
        value for each, value in figures.items() if name and (each == name or each.startswith(f"{name}-"))
    ]


def _cache(seen: Figures) -> RenderableType:
    table = _table("", "found", "share", "held", "bytes")
    total = sum(seen.lookups.values())
    for tier in TIERS:
        rate = seen.lookups.get(tier, 0.0)
        held = f"{seen.held[tier]:.0f}" if tier in seen.held else ""
        nbytes = _bytes(seen.held_bytes[tier]) if tier in seen.held_bytes else ""
        table.add_row(tier, f"{rate:.1f}/s", f"{rate / total:.0%}" if total else "", held, nbytes)
    encoded = ", ".join(f"{cause} {rate:.1f}/s" for cause, rate in sorted(seen.encodes.items())) or "none"
    return Panel(Group(table, Text(f"encoded: {encoded}", "dim")), title="Cache", title_align="left")


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
