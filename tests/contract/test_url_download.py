"""The downloads behind URL images: pinned addresses, names kept for TLS, one download for concurrent requests."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import pytest
import trustme
from aiohttp import web

from deployments.protocol import Overloaded
from serve_app.http.errors import BadImage
from serve_app.http.reading import pinned
from serve_app.http.reading.fetch import DOWNLOADS, OF_ONE_TENANT, SPARE, ImageFetcher
from serve_app.http.reading.pinned import checked_session
from serve_app.settings import Settings
from tests.support.patience import PATIENCE_S

PICTURE = b"picture"


class Site:
    """A web server on loopback that notes its requests."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.names: list[str | None] = []
        self.ended: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.paths: list[str] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.hosts.append(request.host)
        self.paths.append(request.raw_path)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("answered")
        return web.Response(status=self.status, body=PICTURE, content_type="image/png", headers=self.headers)


@asynccontextmanager
async def site(
    address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Site]:
    one = Site()
    app = web.Application()
    app.router.add_get("/{name:.*}", one.answer)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: one.names.append(name)
    listener = web.TCPSite(runner, address, port, ssl_context=tls)
    await listener.start()
    one.port = runner.addresses[0][1]
    try:
        yield one
    finally:
        await runner.cleanup()


@asynccontextmanager
async def fetching(
    lookup: Any = None, tls: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[ImageFetcher]:
    options = {
        "url_https_only": False,
        "url_allow_private": True,
        "url_ports": (),
        "url_cache_s": 0,
        **settings,
    }
    fetcher = ImageFetcher(Settings(**options), tls=tls, **({"lookup": lookup} if lookup else {}))
    try:
        yield fetcher
    finally:
        await fetcher.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def certified(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def to_loopback(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


async def test_the_name_is_kept_for_tls_and_host(authority: trustme.CA) -> None:
    tls = certified(authority, "images.example")
    async with (
        site(tls=tls) as one,
        fetching(to_loopback, trusting(authority), url_https_only=True) as fetcher,
    ):
        image = await fetcher.fetch("acme", f"https://images.example:{one.port}/a.png")
        assert image.content == PICTURE
        assert one.names == ["images.example"]
        assert one.hosts == [f"images.example:{one.port}"]


@pytest.mark.parametrize("trusted", [True, False], ids=["other-name", "unknown-authority"])
async def test_certificates_are_checked_against_the_name(authority: trustme.CA, trusted: bool) -> None:
    tls = certified(authority, "other.example" if trusted else "images.example")
    trust = trusting(authority if trusted else trustme.CA())
    async with site(tls=tls) as one, fetching(to_loopback, trust) as fetcher:
        with pytest.raises(BadImage, match="certificate"):
            await fetcher.fetch("acme", f"https://images.example:{one.port}/a.png")
        assert one.hosts == []


async def test_a_name_is_resolved_once_and_pinned() -> None:
    """A second answer of the name server, after the check, cannot lead elsewhere."""
    asked = []

    async def changing(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    async with site() as one, site("127.0.0.2", one.port) as other, fetching(changing) as fetcher:
        await fetcher.fetch("acme", f"http://rebinding.example:{one.port}/a.png")
        assert asked == ["rebinding.example"]
        assert (len(one.hosts), len(other.hosts)) == (1, 0)


async def test_one_private_address_refuses_the_name() -> None:
    async def mixed(_host: str, _port: int) -> list[str]:
        return ["93.184.215.14", "127.0.0.1"]

    async with site() as one, fetching(mixed, url_allow_private=False) as fetcher:
        with pytest.raises(BadImage, match="not public"):
            await fetcher.fetch("acme", f"http://mixed.example:{one.port}/a.png")
        assert one.hosts == []


async def test_the_address_is_checked_again_at_the_socket() -> None:
    """A way around the resolver, as an address written as a host is, is no way around the check."""
    async with site() as one, checked_session(lambda address: address != "127.0.0.1") as session:
        with pytest.raises(BadImage, match="not public"):
            await session.get(f"http://127.0.0.1:{one.port}/a.png")
        assert one.hosts == []


@pytest.mark.parametrize("target", ["http://127.0.0.2/a.png", "http://inner.example/a.png"])
async def test_a_redirects_address_is_checked_too(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    async def inside_and_outside(host: str, _port: int) -> list[str]:
        return ["127.0.0.2" if host == "inner.example" else "127.0.0.1"]

    # Loopback's first address stands for the public ones.
    monkeypatch.setattr(pinned, "is_public", lambda address: address == "127.0.0.1")
    async with site() as one, fetching(inside_and_outside, url_allow_private=False) as fetcher:
        one.status, one.headers = 302, {"Location": target}
        with pytest.raises(BadImage, match="not public"):
            await fetcher.fetch("acme", f"http://outer.example:{one.port}/a.png")
        assert len(one.hosts) == 1


async def test_concurrent_requests_for_a_url_share_its_download() -> None:
    async with site() as one, fetching() as fetcher:
        one.gate.clear()
        url = f"http://127.0.0.1:{one.port}/a.png"
        asking = [asyncio.ensure_future(fetcher.fetch("acme", url)) for _ in range(5)]
        await until(lambda: one.hosts)
        one.gate.set()
        assert [image.content for image in await asyncio.gather(*asking)] == [PICTURE] * 5
        assert len(one.hosts) == 1


async def test_tenants_share_no_download() -> None:
    async with site() as one, fetching(url_cache_s=60) as fetcher:
        url = f"http://127.0.0.1:{one.port}/a.png"
        for _ in range(2):
            await asyncio.gather(fetcher.fetch("acme", url), fetcher.fetch("other", url))
        assert len(one.hosts) == 2


async def test_a_client_that_leaves_does_not_end_a_shared_download() -> None:
    async with site() as one, fetching() as fetcher:
        one.gate.clear()
        url = f"http://127.0.0.1:{one.port}/a.png"
        first, second = (asyncio.ensure_future(fetcher.fetch("acme", url)) for _ in range(2))
        await until(lambda: one.hosts)
        first.cancel()
        await asyncio.wait([first])
        one.gate.set()
        assert (await second).content == PICTURE


async def test_a_download_that_nobody_waits_for_ends() -> None:
    async with site() as one, fetching() as fetcher:
        one.gate.clear()
        only = asyncio.ensure_future(fetcher.fetch("acme", f"http://127.0.0.1:{one.port}/a.png"))
        await until(lambda: one.hosts)
        only.cancel()
        await asyncio.wait([only])
        await until(lambda: one.ended)
        assert one.ended == ["cancelled"]


async def test_a_failure_is_shared_but_not_kept() -> None:
    async with site() as one, fetching() as fetcher:
        one.headers = {"Content-Encoding": "gzip"}
        url = f"http://127.0.0.1:{one.port}/a.png"
        results = await asyncio.gather(
            *(fetcher.fetch("acme", url) for _ in range(3)), return_exceptions=True
        )
        assert all(isinstance(result, BadImage) for result in results)
        assert len(one.hosts) == 1
        one.headers = {}
        assert (await fetcher.fetch("acme", url)).content == PICTURE


@pytest.mark.parametrize(
    ("cache_control", "downloads"), [("", 1), ("max-age=60", 1), ("no-store", 2), ("public, max-age=0", 2)]
)
async def test_the_sites_word_on_caching(cache_control: str, downloads: int) -> None:
    async with site() as one, fetching(url_cache_s=60) as fetcher:
        one.headers = {"Cache-Control": cache_control} if cache_control else {}
        for _ in range(2):
            await fetcher.fetch("acme", f"http://127.0.0.1:{one.port}/a.png")
        assert len(one.hosts) == downloads


async def test_signed_urls_are_sent_as_written() -> None:
    path = "/a%2Fb.png?signature=a%2Fb%3D+c~&x=%7e"
    async with site() as one, fetching() as fetcher:
        await fetcher.fetch("acme", f"http://127.0.0.1:{one.port}{path}")
        assert one.paths == [path]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_tenant_need_not_wait_for_the_slow_downloads_of_another_one() -> None:
    async with site() as slow, site() as quick, fetching() as fetcher:
        slow.gate.clear()
        url = f"http://127.0.0.1:{slow.port}"
        flood = [asyncio.create_task(fetcher.fetch("a", f"{url}/{number}")) for number in range(96)]
        await until(lambda: len(slow.hosts) >= OF_ONE_TENANT)
        found = await fetcher.fetch("b", f"http://127.0.0.1:{quick.port}/x")
        assert found.content == PICTURE
        assert len(slow.hosts) == OF_ONE_TENANT
        slow.gate.set()
        assert all(one.content == PICTURE for one in await asyncio.gather(*flood))


async def test_waiting_for_a_place_counts_against_the_time_for_a_download() -> None:
    """The waiting ones are told to come again."""
    async with site() as slow, fetching(url_timeout_s=0.5, retry_after_s=7) as fetcher:
        slow.gate.clear()
        url = f"http://127.0.0.1:{slow.port}"
        flood = [fetcher.fetch("a", f"{url}/{number}") for number in range(40)]
        errors = await asyncio.gather(*flood, return_exceptions=True)
        slow.gate.set()
    assert [type(error) for error in errors] == [BadImage] * OF_ONE_TENANT + [Overloaded] * (
        40 - OF_ONE_TENANT
    )
    assert {error.retry_after_s for error in errors if isinstance(error, Overloaded)} == {7}


async def test_a_look_up_that_hangs_holds_its_own_tenants_place_until_it_ends() -> None:
    """A thread in the system's resolver cannot be cancelled."""
    go = asyncio.Event()

    async def lookup(host: str, _port: int) -> list[str]:
        if host.startswith("hangs"):
            await go.wait()
        return ["127.0.0.1"]

    async with site() as there, fetching(lookup, url_timeout_s=0.3) as fetcher:
        hanging = [f"http://hangs-{number}.test/x" for number in range(OF_ONE_TENANT)]
        errors = await asyncio.gather(*(fetcher.fetch("a", url) for url in hanging), return_exceptions=True)
        assert {type(error) for error in errors} == {BadImage}
        quick = f"http://quick.test:{there.port}/x"
        with pytest.raises(Overloaded):
            await fetcher.fetch("a", quick)
        assert (await fetcher.fetch("b", quick)).content == PICTURE
        go.set()
        await asyncio.sleep(0.05)
        assert (await fetcher.fetch("a", quick)).content == PICTURE


async def test_names_are_looked_up_without_waiting_for_others() -> None:
    """The system's resolver has a thread for each download, so that none waits for another's name."""
    assert DOWNLOADS + SPARE <= pinned.LOOKUPS
    began, go = threading.Semaphore(0), threading.Event()

    def resolve(*_: Any, **__: Any) -> list[Any]:
        began.release()
        go.wait(PATIENCE_S)
        raise OSError

    with patch("socket.getaddrinfo", resolve):
        lookups = [
            asyncio.create_task(pinned.look_up(f"{number}.test", 80)) for number in range(pinned.LOOKUPS)
        ]
        for _ in lookups:
            assert await asyncio.to_thread(began.acquire, timeout=PATIENCE_S)
        go.set()
        assert {type(one) for one in await asyncio.gather(*lookups, return_exceptions=True)} == {OSError}
