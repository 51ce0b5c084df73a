"""Images by URL: the message of each refusal. A local server plays the outside world."""

import asyncio
import base64
import contextlib
import http.server
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import requests
from aiohttp import web

from tests.contract.conftest import Client, ServerFactory, own_server
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, encoded, numbered, scene

PICTURE = encoded(scene())


class World(http.server.BaseHTTPRequestHandler):
    """Answers by path. Counts."""

    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        name = self.path.partition("?")[0]
        match name:
            case "/picture.png" | "/again.png":
                self.answer(200, PICTURE, "image/png")
            case "/typed.png":
                self.answer(200, PICTURE, "image/png; charset=binary")
            case "/page":
                self.answer(200, b"<html>SECRET PAGE</html>", "text/html")
            case "/lie.png":
                self.answer(200, b"SECRET BYTES, not an image", "image/png")
            case "/octets":
                self.answer(200, PICTURE, "application/octet-stream")
            case "/binary":
                self.answer(200, PICTURE, "binary/octet-stream")
            case "/untyped":
                self.answer(200, PICTURE, None)
            case "/octets-lie":
                self.answer(200, b"SECRET BYTES, not an image", "application/octet-stream")
            case "/odd":
                self.answer(200, PICTURE, "SECRET words")
            case "/empty.png":
                self.answer(200, b"", "image/png")
            case "/gzip.png":
                self.answer(200, PICTURE, "image/png", {"Content-Encoding": "gzip"})
            case "/large.png":
                self.answer(200, b"x" * 200_000, "image/png")
            case "/endless.png":
                self.answer(200, b"", "image/png", length=False)
                for _ in range(1000):
                    self.wfile.write(b"x" * 1000)
            case "/slow.png":
                self.answer(200, b"", "image/png", length=False)
                stopped.wait(PATIENCE_S)
            case "/missing.png":
                self.answer(404, b"SECRET PAGE", "text/html")
            case "/redirect":
                self.answer(302, b"", "text/plain", {"Location": "/picture.png"})
            case "/loop":
                self.answer(302, b"", "text/plain", {"Location": "/loop"})
            case "/nowhere":
                self.answer(302, b"", "text/plain")
            case _:
                target = self.path.partition("?to=")[2]
                self.answer(307, b"", "text/plain", {"Location": target})

    def answer(
        self, status: int, body: bytes, kind: str | None, headers: Any = None, length: bool = True
    ) -> None:
        self.send_response(status)
        if kind is not None:
            self.send_header("Content-Type", kind)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client may hang up early
            super().handle()


stopped = threading.Event()


@pytest.fixture(scope="module")
def world() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), World)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    stopped.set()
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def lenient(world: str) -> Iterator[Client]:
    """A server that fetches from loopback by plain http, with small limits."""
    options: dict[str, Any] = {
        "url_https_only": False,
        "url_allow_private": True,
        "url_ports": (),
        "url_cache_s": 0,
    }
    with own_server(url_max_bytes=100_000, url_timeout_s=PATIENCE_S, url_max_redirects=2, **options) as url:
        yield Client(url)


@pytest.fixture(scope="module")
def any_port() -> Iterator[Client]:
    """A server with default settings, but for the ports of image URLs."""
    with own_server(url_ports=()) as url:
        yield Client(url)


def as_text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def by_url(url: str) -> dict[str, Any]:
    return {"image": {"type": "url", "value": url}}


@pytest.mark.parametrize(
    "path",
    [
        "/picture.png",
        "/typed.png",
        "/octets",
        "/binary",
        "/untyped",
        "/odd",
        "/redirect",
        "/hop?to=/redirect",
    ],
)
def test_an_image_behind_a_url(lenient: Client, world: str, path: str) -> None:
    by_content = lenient.embed({"image": {"type": "base64", "value": as_text(PICTURE)}})
    assert lenient.embed(by_url(world + path))["image_id"] == by_content["image_id"]


@pytest.mark.parametrize(
    ("path", "say"),
    [
        ("/page", "its server says that it is text/html, and not an image"),
        ("/octets-lie", "not an image"),
        ("/lie.png", "not an image"),
        ("/empty.png", "empty"),
        ("/gzip.png", "compress"),
        ("/large.png", "larger than 100000 bytes"),
        ("/endless.png", "larger than 100000 bytes"),
        ("/missing.png", "answered 404"),
        ("/loop", "more than 2 redirects"),
        ("/hop?to=/hop?to=/redirect", "more than 2 redirects"),
        ("/hop?to=file:///etc/passwd", "must begin with"),
        ("/hop?to=gopher://127.0.0.1/", "must begin with"),
        ("/hop?to=http://name:word@127.0.0.1/", "user name or password"),
    ],
)
def test_refusals(lenient: Client, world: str, path: str, say: str) -> None:
    message = lenient.embed(by_url(world + path), expect=400)["message"]
    assert say in message
    assert "SECRET" not in message


def test_an_image_that_does_not_arrive_is_given_up(start_server: ServerFactory, world: str) -> None:
    with start_server(url_https_only=False, url_allow_private=True, url_ports=(), url_timeout_s=0.5) as url:
        message = Client(url).embed(by_url(f"{world}/slow.png"), expect=400)["message"]
    assert "no answer within 0.5 s" in message


@pytest.mark.parametrize(
    ("url", "say"),
    [
        ("", "empty"),
        ("picture.png", "must begin with"),
        ("/etc/passwd", "must begin with"),
        ("file:///etc/passwd", "must begin with"),
        ("ftp://example.com/a.png", "must begin with"),
        ("http://", "no host"),
        ("http://[::1", "not a URL"),
        ("https://xn--a/a.png", "not a URL"),
        ("http://host:99999/a.png", "not a URL"),
        ("http://host:port/a.png", "not a URL"),
        ("http://name@127.0.0.1/a.png", "user name"),
        ("http://" + "a" * 9000, "longer than"),
        ("http://" + "a" * 300 + "/", "does not resolve"),
        ("http://no-such-host.invalid/a.png", "does not resolve"),
        ("http://127.0.0.1:1/a.png", "cannot be reached"),
        ("http://exa mple.com/", ""),
        ("http://\u0000/", ""),
        ("http://\U0001f408.invalid/", ""),
        ("http://127.0.0.1:1/\r\nHost: evil", ""),
    ],
)
def test_malformed_urls_are_400(lenient: Client, url: str, say: str) -> None:
    assert say in lenient.embed(by_url(url), expect=400)["message"]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "168.63.129.16",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "localhost",
        "localhost.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
    ],
)
def test_addresses_that_are_not_public_are_refused(any_port: Client, world: str, host: str) -> None:
    """The server connects to nothing, by default, with https, on any port."""
    before = len(World.seen)
    port = world.rpartition(":")[2]
    for url in (f"https://{host}/a.png", f"https://{host}:{port}/picture.png"):
        message = any_port.embed(by_url(url), expect=400)["message"]
        # Odd spellings of addresses, and families that this machine lacks, are refused even earlier.
        assert any(text in message for text in ("not public", "does not resolve", "not a valid name"))
    assert len(World.seen) == before


@pytest.mark.parametrize("port", [22, 8080, 8443, 6379, 65535])
def test_other_ports_than_the_webs_are_refused(server: str, port: int) -> None:
    message = Client(server).embed(by_url(f"https://example.com:{port}/a.png"), expect=400)["message"]
    assert message == "image URL refused: its port must be 80 or 443"


def test_a_redirect_to_another_port_is_refused(start_server: ServerFactory, world: str) -> None:
    port = world.rpartition(":")[2]
    options = {"url_https_only": False, "url_allow_private": True, "url_ports": port}
    with start_server(**options) as url:
        assert Client(url).embed(by_url(f"{world}/picture.png"))
        message = Client(url).embed(by_url(f"{world}/hop?to=http://127.0.0.1:1/"), expect=400)["message"]
    assert message == f"image URL refused: its port must be {port}"


def test_plain_http_is_refused_by_default(server: str, world: str) -> None:
    message = Client(server).embed(by_url(f"{world}/picture.png"), expect=400)["message"]
    assert message == "image URL refused: it must begin with https://"


def test_urls_can_be_switched_off(start_server: ServerFactory) -> None:
    with start_server(image_urls=False) as url:
        message = Client(url).embed(by_url("https://example.com/a.png"), expect=400)["message"]
        assert "switched off" in message


def test_a_url_in_use_is_fetched_once(start_server: ServerFactory, world: str) -> None:
    options = {"url_https_only": False, "url_allow_private": True, "url_ports": ()}
    segmenter = FakeSegmenter()
    with start_server(segmenter, **options) as url:
        before = World.seen.count("/again.png")
        for _ in range(3):
            Client(url).embed(by_url(f"{world}/again.png"))
        assert World.seen.count("/again.png") == before + 1
        assert segmenter.encoded == 1


def test_urls_and_files_in_one_list(lenient: Client, world: str) -> None:
    images = [by_url(f"{world}/picture.png")["image"], {"type": "base64", "value": as_text(numbered(600))}]
    assert len(lenient.embed({"image": images})) == 2
    images[0] = by_url(f"{world}/page")["image"]
    assert lenient.embed({"image": images}, expect=400)["message"].startswith("image 0 of the list: ")


async def test_an_image_that_downloads_slowly_holds_no_place(start_server: ServerFactory) -> None:
    """One place; the other request is answered while the image has not come."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        asked.set()
        await go.wait()
        return web.Response(body=encoded(scene()), content_type="image/png")

    app = web.Application()
    app.router.add_get("/slow.png", slow)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    port = runner.addresses[0][1]
    settings = {"max_in_flight": 1, "url_https_only": False, "url_allow_private": True, "url_ports": ()}
    try:
        with start_server(**settings) as url:

            def embed(image: dict[str, str]) -> int:
                body = {"image": image}
                return requests.post(f"{url}/sam3/embed_image", json=body, timeout=PATIENCE_S).status_code

            waiting = asyncio.create_task(
                asyncio.to_thread(embed, {"type": "url", "value": f"http://127.0.0.1:{port}/slow.png"})
            )
            arrival = asyncio.create_task(asked.wait())
            await asyncio.wait([arrival, waiting], timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            assert arrival.done(), waiting
            assert await asyncio.to_thread(embed, as_json(encoded(scene()))) == 200
            go.set()
            assert await waiting == 200
    finally:
        await runner.cleanup()
