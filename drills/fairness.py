"""The effect of one tenant's flood on another: `make drill ONLY=fairness`, or `python -m drills.fairness`.

One run on one machine. `annotator` is interactive: one client that sends a new image with a concept, then clicks on it.
`labeller` is batch: 150 connections that label new images, and come again when a refusal says so. `rival` does the same
with 14 connections, and is interactive. Each is measured alone, then together. `crowd` shows the state before there
were shares: the same flood by another client of the annotator's own tenant, for places are not shared within one.
"""

import argparse
import asyncio
import base64
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from harness.figures import Latency, latency, ms, table
from harness.images import drawing
from harness.machine import this_machine
from harness.server import ROOT, server_process
from serve_app.http.tenants import keyfile

FLOOD, RIVALS = 150, 14
CLICKS = 4
"""Clicks on each of the annotator's images."""
SETTLE_S, MEASURE_S = 8.0, 20.0
PAUSE_S = 12.0
"""Between two situations: a tenant counts as active for ten seconds."""
TIMEOUT_S = 150.0
CONCEPT = {"prompts": [{"text": "red circle"}]}
CLICK = {"prompts": [{"points": [{"x": 70, "y": 80, "positive": True}]}]}


@dataclass
class Tally:
    """The fate of one tenant's requests while they counted."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of the answers, by kind of request."""
    refused: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return sum(map(len, self.seconds.values()))


@dataclass(frozen=True, slots=True)
class Seen:
    """One tenant's figures in one situation."""

    answered: int
    refused: int
    failed: tuple[str, ...]
    per_second: float
    latency: dict[str, Latency]


class Clients:
    """Connections of one tenant. `counting`: answers count now."""

    def __init__(self, url: str, key: str, numbers: Sequence[int]) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._numbers = iter(numbers)
        self.tally = Tally()
        self.counting = False

    async def run(self, connections: int, clicks: int) -> None:
        """Send requests until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(connections):
                group.create_task(self._client(session, clicks))

    async def _client(self, session: aiohttp.ClientSession, clicks: int) -> None:
        while True:
            image = numbered(next(self._numbers))
            image_id = await self._ask(
                session, "concept", "/sam3/concept_segment", {"image": image, **CONCEPT}
            )
            for _ in range(clicks if image_id else 0):
                await self._ask(session, "click", "/sam3/visual_segment", {"image_id": image_id, **CLICK})

    async def _ask(self, session: aiohttp.ClientSession, kind: str, route: str, body: Any) -> str | None:
        """The image's id; None for a request that was not answered."""
        began = time.monotonic()
        try:
            async with session.post(self._url + route, json=body, headers=self._headers) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.tally.failed.append(repr(error))
            return None
        if answer.status == 503 and "Retry-After" in answer.headers:
            self.tally.refused += self.counting
            await asyncio.sleep(float(answer.headers["Retry-After"]))
            return None
        if answer.status != 200:
            self.tally.failed.append(f"{answer.status} {text[:200]!r}")
            return None
        if self.counting:
            self.tally.seconds.setdefault(kind, []).append(time.monotonic() - began)
        found: str = json.loads(text)["image_id"]
        return found


@cache
def common() -> bytes:
    """Base64 of a picture whose file has a length that is a multiple of three."""
    file = drawing(1)
    return base64.b64encode(file + b" " * (-len(file) % 3))


def numbered(number: int) -> dict[str, str]:
    """An image of a content of its own, at little cost to the sender: digits after the picture's end."""
    return {"type": "base64", "value": (common() + base64.b64encode(f"{number:012}".encode())).decode()}


def numbers_from(start: int) -> range:
    """Images that no other clients send."""
    return range(start * 1_000_000, (start + 1) * 1_000_000)


async def together(url: str, first: int, *loads: tuple[str, int, int]) -> list[Seen]:
    """The figures of several loads at once: key, connections, clicks for each image."""
    all_clients = [Clients(url, key, numbers_from(first + place)) for place, (key, _, _) in enumerate(loads)]
    tasks = [
        asyncio.create_task(clients.run(connections, clicks))
        for clients, (_, connections, clicks) in zip(all_clients, loads, strict=True)
    ]
    await asyncio.sleep(SETTLE_S)
    for clients in all_clients:
        clients.counting = True
    await asyncio.sleep(MEASURE_S)
    for clients in all_clients:
        clients.counting = False
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(PAUSE_S)
    return [seen(clients.tally) for clients in all_clients]


def seen(tally: Tally) -> Seen:
    """The figures of a tally."""
    return Seen(
        tally.answered,
        tally.refused,
        tuple(sorted(set(tally.failed))[:5]),
        tally.answered / MEASURE_S,
        {kind: latency(seconds) for kind, seconds in sorted(tally.seconds.items())},
    )


async def situations(url: str, annotator: str, labeller: str, rival: str) -> dict[str, Seen]:
    """All figures, by name."""
    (alone,) = await together(url, 10, (annotator, 1, CLICKS))
    (flood,) = await together(url, 20, (labeller, FLOOD, 0))
    (by_crowd, _) = await together(url, 30, (annotator, 1, CLICKS), (annotator, FLOOD, 0))
    (beside, beside_flood) = await together(url, 40, (annotator, 1, CLICKS), (labeller, FLOOD, 0))
    (beside_rival, rivals) = await together(url, 50, (annotator, 1, CLICKS), (rival, RIVALS, 0))
    return {
        "annotator alone": alone,
        "annotator beside a crowd (as without shares)": by_crowd,
        "annotator beside the labeller": beside,
        "annotator beside the rival": beside_rival,
        "labeller alone": flood,
        "labeller beside the annotator": beside_flood,
        "rival beside the annotator": rivals,
    }


def measure(root: Path, with_shares: bool) -> dict[str, Seen]:
    """Start a server from a checkout and measure each situation. with_shares: its key file has weights and classes."""
    with TemporaryDirectory() as name:
        keys = Path(name) / "keys.json"
        annotator = keyfile.add(keys, "annotator")
        labeller = keyfile.add(keys, "labeller", tenant_class="batch")
        rival = keyfile.add(keys, "rival")
        if not with_shares:
            document = json.loads(keys.read_text())
            for tenant in document["tenants"]:
                del tenant["weight"], tenant["class"]
            keys.write_text(json.dumps(document))
        with server_process(Path(name), root=root, model="tiny", api_keys_file=str(keys)) as server:
            return asyncio.run(situations(server.url, annotator, labeller, rival))


def rows(found: dict[str, Seen]) -> list[list[str]]:
    """One row for each tenant and situation."""
    return [
        [
            name,
            str(one.answered),
            str(one.refused),
            str(len(one.failed)),
            f"{one.per_second:.1f}",
            *(
                " / ".join(ms(p) for p in (one.latency[kind].p50, one.latency[kind].p95))
                if kind in one.latency
                else ""
                for kind in ("concept", "click")
            ),
        ]
        for name, one in found.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and write it as JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="a file for the figures, as JSON")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout that serves")
    parser.add_argument("--without-shares", action="store_true", help="it is from before there were shares")
    options = parser.parse_args(arguments)
    found = measure(options.root.resolve(), not options.without_shares)
    head = ["", "answered", "refused", "failed", "a second", "new image, p50 / p95", "click, p50 / p95"]
    print(table(head, rows(found)))
    print(this_machine().line())
    if options.json:
        options.json.write_text(json.dumps({name: asdict(one) for name, one in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
