"""Draws the pictures of docs/monitoring.md: `python -m scripts.monitoring_pictures`.

Starts a server and a Prometheus, and loads the server for some minutes in three steps. Draws every panel of the
dashboard from Prometheus' answers, and one screen of `sam3-serve top`.
"""

import base64
import io
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import requests
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from harness.machine import this_machine
from harness.prometheus import Prometheus, prometheus
from harness.server import server_process
from scripts.grafana_dashboard import ROWS, Panel
from serve_app.cli.top import scrape, view
from serve_app.cli.top_figures import figures

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SHAPES = IMAGES / "shapes.jpg"
STEPS = ((1, 60.0), (3, 80.0), (1, 60.0))
"""The number of clients and the seconds of each step."""
TOP_SPAN_S = 15.0
DISTINCT = 60
COLUMNS = 3


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Little room for embeddings, so that some are evicted and made again.
        with (
            server_process(folder, model="tiny", warm_bytes="12MiB", hot_bytes="24MiB") as server,
            prometheus(folder, server.url) as watching,
        ):
            started = time.time()
            for clients, seconds in STEPS:
                load(server.url, clients, seconds)
            top(server.url)
            time.sleep(6)
            draw(watching, started, time.time())


def load(url: str, clients: int, seconds: float) -> None:
    """Clicks and concepts, on some images more often than on others."""
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        choose = random.Random(number)
        while time.monotonic() < end:
            image = image_file(min(int(choose.expovariate(0.12)), DISTINCT))
            if choose.random() < 0.7:
                click = {"points": [{"x": 460, "y": 190, "positive": True}]}
                requests.post(
                    f"{url}/sam3/visual_segment", json={"image": image, "prompts": [click]}, timeout=60
                )
            else:
                prompts = [{"type": "text", "text": text} for text in ("circle", "green star")]
                requests.post(
                    f"{url}/sam3/concept_segment", json={"image": image, "prompts": prompts}, timeout=60
                )
            if choose.random() < 0.02:
                requests.post(f"{url}/sam3/visual_segment", json={"image_id": "unknown"}, timeout=60)
            time.sleep(choose.random() * 0.1)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def image_file(number: int) -> dict[str, str]:
    """The drawn scene with one pixel changed: another image for each number."""
    image = Image.open(SHAPES).convert("RGB")
    image.putpixel((0, 0), (number, number, number))
    file = io.BytesIO()
    image.save(file, "PNG")
    return {"type": "base64", "value": base64.b64encode(file.getvalue()).decode()}


def top(url: str) -> None:
    """docs/images/top.svg: one screen, under load."""
    before = scrape(url)
    load(url, 2, TOP_SPAN_S)
    console = Console(record=True, width=104, height=26, file=io.StringIO())
    console.print(view(url, figures(before, scrape(url))))
    console.save_svg(str(IMAGES / "top.svg"), title="sam3-serve top")


def draw(watching: Prometheus, start: float, end: float) -> None:
    """docs/images/dashboard.png: every panel, from Prometheus' answers."""
    panels = [panel for row in ROWS.values() for panel in row]
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(5 * COLUMNS, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS).flatten()
    for axis, panel in zip(axes, panels, strict=False):
        draw_panel(axis, panel, watching, start, end)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    machine = this_machine()
    figure.suptitle(f"{machine.date}, {machine.cores} cores, {machine.gpu}, model tiny", fontsize=10)
    figure.savefig(IMAGES / "dashboard.png", dpi=65)


def draw_panel(axis: Any, panel: Panel, watching: Prometheus, start: float, end: float) -> None:
    lines: list[tuple[str, list[float], list[float]]] = []
    for query, legend in panel.queries:
        for series in watching.query_range(query, start, end, 2):
            name = legend
            for label, value in series["metric"].items():
                name = name.replace(f"{{{{{label}}}}}", value)
            lines.append(
                (name, [at - start for at, _ in series["values"]], [float(v) for _, v in series["values"]])
            )
    for name, at, values in lines:
        axis.plot(at, values, label=name, linewidth=1)
    axis.set_title(f"{panel.title} [{panel.unit}]", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.set_ylim(bottom=0)
    if lines:
        axis.legend(fontsize=6, loc="upper left", framealpha=0.5)
    else:
        axis.text(0.5, 0.5, "no data on this machine", ha="center", transform=axis.transAxes, fontsize=8)


if __name__ == "__main__":
    main()
