"""Times a click through each annotation tool's route beside `/sam3/visual_segment`: `python -m bench.tools`.

Each route gets images of its own, in turns. The first click on an image encodes it, the second one refines the mask on
the hot image. Every request carries the image as the tool does: in base64, or for Label Studio as a path on a server.
"""

import argparse
import base64
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import requests

from harness.exposed import settled_metric
from harness.figures import ms, table
from harness.machine import this_machine
from harness.server import server_process
from loadtest.corpus import Corpus, Picture
from sam3_engine.types import ImageSize

SIZE = ImageSize(960, 1280)
PROJECT = "1.1700000000"
CONFIG = """<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="mask" toName="image"><Label value="Thing"/></BrushLabels>
  <KeyPointLabels name="click" toName="image" smart="true"><Label value="Thing"/></KeyPointLabels>
</View>"""

Clicks = Sequence[tuple[float, float]]
Body = Callable[[str, bytes, Clicks], dict[str, Any]]
"""(file's name, its content, clicks on the object) -> a request's body."""


def visual_segment(_name: str, content: bytes, clicks: Clicks) -> dict[str, Any]:
    """The route that the tools' routes are beside."""
    points = [{"x": x, "y": y, "positive": True} for x, y in clicks]
    return {"image": {"type": "base64", "value": _text(content)}, "prompts": {"points": points}}


def label_studio(name: str, _content: bytes, clicks: Clicks) -> dict[str, Any]:
    """Label Studio's `/predict` for smart keypoints."""
    drawn = [
        {
            "type": "keypointlabels",
            "to_name": "image",
            "original_width": SIZE.width,
            "original_height": SIZE.height,
            "is_positive": True,
            "value": {"x": 100 * x / SIZE.width, "y": 100 * y / SIZE.height, "keypointlabels": ["Thing"]},
        }
        for x, y in clicks
    ]
    task = {"id": 1, "data": {"image": f"/{name}"}}
    context = {"result": drawn}
    return {"tasks": [task], "project": PROJECT, "label_config": CONFIG, "params": {"context": context}}


def cvat(_name: str, content: bytes, clicks: Clicks) -> dict[str, Any]:
    """A call of CVAT's interactor."""
    return {"image": _text(content), "pos_points": clicks, "neg_points": [], "obj_bbox": None}


def x_anylabeling(_name: str, content: bytes, clicks: Clicks) -> dict[str, Any]:
    """X-AnyLabeling's `/v1/predict`."""
    marks = [{"type": "point", "data": [x, y], "label": 1} for x, y in clicks]
    image = f"data:image/jpeg;base64,{_text(content)}"
    return {"model": "segment_anything_3_clicks", "image": image, "params": {"marks": marks}}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@dataclass(frozen=True)
class Route:
    """A route that answers clicks. first, second: seconds of the first and second click on each image."""

    name: str
    path: str
    body: Body
    headers: dict[str, str] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    second: list[float] = field(default_factory=list)


def routes() -> list[Route]:
    """The route of this project, and each tool's."""
    function = {"x-nuclio-function-name": "sam3-interactor"}
    return [
        Route("visual_segment", "/sam3/visual_segment", visual_segment),
        Route("Label Studio", "/label-studio/predict", label_studio),
        Route("CVAT", "/api/function_invocations", cvat, function),
        Route("X-AnyLabeling", "/v1/predict", x_anylabeling),
    ]


class Files(BaseHTTPRequestHandler):
    """Label Studio's uploaded images."""

    def __init__(self, content: dict[str, bytes], *rest: Any) -> None:
        self._content = content
        super().__init__(*rest)

    def do_GET(self) -> None:
        """Answer the file of this name."""
        content = self._content[self.path.lstrip("/")]
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@contextmanager
def serving(content: dict[str, bytes]) -> Iterator[str]:
    """Serve files by their names; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, content))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def measure(url: str, origin: str, content: dict[str, bytes], pictures: Sequence[Picture]) -> list[Route]:
    """Two clicks on each picture through each route, the routes in turns. A first round is not counted."""
    session = requests.Session()
    setup = {"project": PROJECT, "schema": CONFIG, "hostname": origin, "access_token": "token"}
    session.post(f"{url}/label-studio/setup", json=setup, timeout=60).raise_for_status()
    found = routes()
    for number, picture in enumerate((pictures[0], *pictures)):
        for turn in range(len(found)):
            route = found[(number + turn) % len(found)]
            name = f"{route.name.replace(' ', '-')}-{number}.jpg"
            content[name] = picture.file(name)
            x, y = picture.clicks[0]
            for times, clicks in ((route.first, [(x, y)]), (route.second, [(x, y), (x + 2, y + 1)])):
                body = json.dumps(route.body(name, content[name], clicks)).encode()
                began = time.perf_counter()
                answer = session.post(
                    url + route.path,
                    data=body,
                    headers={"content-type": "application/json", **route.headers},
                    timeout=600,
                )
                took = time.perf_counter() - began
                answer.raise_for_status()
                if number:
                    times.append(took)
    return found


def report(found: Sequence[Route]) -> str:
    """A table of medians, and how many times as long as the first route's each second click takes."""
    base = float(np.median(found[0].second))
    rows = [
        (route.name, ms(float(np.median(route.first))), ms(second), f"{second / base:.2f}")
        for route in found
        for second in [float(np.median(route.second))]
    ]
    return table(("Route", "first click", "second click", "beside visual_segment"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Start a server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=40, help="for each route")
    options = parser.parse_args(arguments)
    pictures = Corpus.draw(seed=24, count=options.images, size=SIZE).pictures
    content: dict[str, bytes] = {}
    tools = "label-studio,cvat,x-anylabeling"
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(content) as origin,
        server_process(Path(folder), model="tiny", tools=tools, tool_origins=origin) as server,
    ):
        found = measure(server.url, origin, content, pictures)
        encoded = settled_metric(server.url, "sam3_images_encoded_total")
    print(this_machine().line())
    print(f"{SIZE.width} x {SIZE.height}, {options.images} images for each route, medians\n")
    print(report(found))
    print(f"\n{len(content)} images, each clicked twice: {encoded:.0f} encodes")


if __name__ == "__main__":
    main()
