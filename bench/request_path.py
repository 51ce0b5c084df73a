"""Counts the project's files and functions that one request passes: `python -m bench.request_path [--root CHECKOUT]`.

A function counts when each of several similar requests enters it, in any process. So functions that run beside the
requests, such as health checks and reports, do not count.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from harness.images import as_json, drawing
from harness.server import ROOT, server_process

REPEATS = 8
SETTLE_S = 0.3
"""Seconds to wait for the recorders: processes check for the file several times within it."""
HOOK = Path(__file__).with_name("call_recorder")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout that serves")
    parser.add_argument("--list", action="store_true", help="print the functions")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        root = options.root.resolve()
        os.environ |= {"CALL_RECORDER": text, "CALL_RECORDER_ROOT": str(root), "PYTHONPATH": str(HOOK)}
        with server_process(folder, root=root, model="tiny") as server:
            client = Client(server.url)
            client.embed()
            client.click()
            known = passed(folder, lambda _: client.click())
            new = passed(folder, client.concept)
    for name, entered in (("a click on a hot image", known), ("a concept on a new image", new)):
        print(f"{name}: {len({file for file, _ in entered})} files, {len(entered)} functions")
        if options.list:
            print(*(f"    {file} {function}" for file, function in sorted(entered)), sep="\n")


class Client:
    """Sends drawn images by number."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()

    def embed(self) -> None:
        """Encode the image for clicks."""
        self._post("embed_image", {"image": as_json(drawing(0)), "image_id": "known"})

    def click(self) -> None:
        """A click on that image, named by its id."""
        self._post("visual_segment", {"image_id": "known", "prompts": [{"points": [{"x": 70, "y": 80}]}]})

    def concept(self, number: int) -> None:
        """A concept on an image that was not sent before: number >= 1."""
        self._post(
            "concept_segment", {"image": as_json(drawing(number)), "prompts": [{"text": "red circle"}]}
        )

    def _post(self, route: str, body: dict[str, Any]) -> None:
        self._session.post(f"{self._url}/sam3/{route}", json=body, timeout=120).raise_for_status()


def passed(folder: Path, ask: Callable[[int], None]) -> set[tuple[str, str]]:
    """Files and functions that each of several requests enters."""
    every: list[set[tuple[str, str]]] = []
    for number in range(REPEATS):
        (folder / "on").touch()
        time.sleep(SETTLE_S)
        ask(number + 1)
        (folder / "on").unlink()
        time.sleep(SETTLE_S)
        entered: set[tuple[str, str]] = set()
        for file in folder.glob("*.txt"):
            if file.stem.isdigit():
                entered |= {tuple(line.split("\t")) for line in file.read_text().splitlines()}  # type: ignore[misc]
                file.unlink()
        every.append(entered)
    return set.intersection(*every)


if __name__ == "__main__":
    main()
