import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from deployments.observe.scrape import ClusterMetrics
from serve_app.cli.addresses import free_ports

TEXT = """# TYPE ray_sam3_images_encoded_total counter
ray_sam3_images_encoded_total{cause="new",NodeAddress="a"} 3.0
"""
HOST = "127.0.0.1"


class Node:
    """A node's exposition."""

    def __init__(self) -> None:
        self.asked = 0
        self.port = 0
        self.answer = TEXT
        self.status = 200
        self.stalls = False

    async def handle(self, _request: web.Request) -> web.Response:
        self.asked += 1
        if self.stalls:
            await asyncio.sleep(60)
        return web.Response(text=self.answer, status=self.status)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    app = web.Application()
    app.router.add_get("/metrics", node.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    node.port = runner.addresses[0][1]
    yield node
    await runner.cleanup()


def cluster(*ports: int, kept_s: float = 0) -> ClusterMetrics:
    return ClusterMetrics(lambda: [(HOST, port) for port in ports], timeout_s=0.3, kept_s=kept_s)


async def test_a_node_that_is_gone_does_not_fail_the_scrape(node: Node) -> None:
    (closed,) = free_ports(1)
    text = (await cluster(closed, node.port).exposition()).decode()
    assert 'sam3_images_encoded_total{cause="new",node="a"} 3.0' in text
    assert 'sam3_nodes{state="answered"} 1.0' in text
    assert 'sam3_nodes{state="silent"} 1.0' in text


@pytest.mark.parametrize("failure", ["stalls", "fails", "talks nonsense"])
async def test_nor_does_one_that_hangs_or_errs(node: Node, failure: str) -> None:
    if failure == "stalls":
        node.stalls = True
    elif failure == "fails":
        node.status = 500
    else:
        node.answer = TEXT + 'ray_sam3_images_encoded_total{cause="broken'
    text = (await cluster(node.port).exposition()).decode()
    assert "sam3_images_encoded_total" not in text
    assert 'sam3_nodes{state="silent"} 1.0' in text


async def test_nodes_are_asked_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    async def handle(_request: web.Request) -> web.Response:
        await both.wait()
        return web.Response(text=TEXT)

    app = web.Application()
    app.router.add_get("/metrics", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        asked = ClusterMetrics(lambda: [(HOST, port)] * 2, timeout_s=30)
        assert b'sam3_nodes{state="answered"} 2.0' in await asked.exposition()
    finally:
        await runner.cleanup()


async def test_many_scrapes_at_once_are_one(node: Node) -> None:
    asked = cluster(node.port, kept_s=60)
    answers = await asyncio.gather(*(asked.exposition() for _ in range(20)))
    assert len(set(answers)) == 1
    assert node.asked == 1


async def test_when_the_directory_of_nodes_hangs_those_known_are_asked(node: Node) -> None:
    hang = False
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def addresses() -> list[tuple[str, int]]:
        if hang:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        return [(HOST, node.port)]

    asked = ClusterMetrics(addresses, timeout_s=0.3, kept_s=0)
    assert b'{state="answered"} 1.0' in await asked.exposition()
    hang = True
    assert b'{state="answered"} 1.0' in await asked.exposition()
    release.set()
