"""The real HAProxy with Serve's own configuration, corrected as `sam3-serve up` does, before servers that die."""

import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import requests

from harness.listening import accepts
from harness.waiting import wait_until
from serve_app.cli.addresses import free_ports
from serve_app.cli.drain import drain
from serve_app.cli.haproxy import LOOPBACK, installed
from serve_app.cli.ray_environment import SERVING
from serve_app.settings import Settings
from tests.support.haproxy import written_by_serve
from tests.support.patience import PATIENCE_S

BUFFER = int(SERVING["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"])
KIB = 1024
FILES = "h"
"""The folder of HAProxy's files in a test's own."""


class Server(ThreadingHTTPServer):
    """Answers every POST with the size of its body; once `dying`, reads it and closes the connection; and where it
    is `dying` for good, takes no other one."""

    daemon_threads = True
    dying = False
    for_good = False
    plain_error = 0
    """A status that it answers in plain text."""

    class RequestHandlerClass(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server: "Server"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.arrived.set()
            self.server.may_answer.wait(PATIENCE_S)
            self.server.request_ids += self.headers.get_all("X-Request-ID", [])
            self.server.headers_seen |= {name.lower() for name in self.headers}
            if self.server.plain_error:
                self.send_response(self.server.plain_error)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"text")
                return
            if self.server.dying:
                if self.server.for_good:
                    self.server.stop_listening()
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(str(len(body)))))
            self.end_headers()
            self.wfile.write(str(len(body)).encode())

        def do_GET(self) -> None:
            """HAProxy's health checks: it takes nobody out here."""
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), self.RequestHandlerClass)
        self.arrived, self.may_answer = Event(), Event()
        self.may_answer.set()
        self.connections: list[socket.socket] = []
        self.request_ids: list[str] = []
        self.headers_seen: set[str] = set()
        Thread(target=self.serve_forever, daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own."""
        self.connections.append(request)
        super().process_request(request, client_address)

    def stop_listening(self) -> None:
        """End all connections and refuse others, those that wait to be taken included, as the kernel does when a
        process is killed."""
        for one in (self.socket, *self.connections):
            with suppress(OSError):  # it is closed already
                one.shutdown(socket.SHUT_RDWR)
        Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        self.shutdown()
        self.server_close()


@contextmanager
def haproxy(
    folder: Path, servers: list[Server], stand_in: Server | None = None, **settings: Any
) -> Iterator[str]:
    """HAProxy before the servers, on a socket that is held; its URL. stand_in: asked where all servers are down, as
    Serve's own proxy is."""
    (port,) = free_ports(1)
    places = [server.server_port for server in servers]
    files = folder / FILES
    with installed(Settings(port=port, **settings), files), (folder / "log.txt").open("w") as log:
        config = written_by_serve(files, port, places, stand_in.server_port if stand_in else None)
        process = subprocess.Popen([files / "haproxy", "-db", "-f", config], stdout=log, stderr=log)
        try:
            while True:
                assert process.poll() is None, (folder / "log.txt").read_text()
                with socket.socket() as tried:
                    if not tried.connect_ex((LOOPBACK, port)):
                        break
                time.sleep(0.05)
            yield f"http://{LOOPBACK}:{port}"
        finally:
            process.terminate()
            process.wait(10)


def post(url: str, size: int, session: requests.Session | None = None) -> str:
    """Post so many bytes; returns the status and text of the answer. A connection that was closed raises."""
    answer = (session or requests).post(url, data=b"x" * size, timeout=PATIENCE_S)
    return f"{answer.status_code} {answer.text}"


@pytest.mark.parametrize("size", [0, 1 * KIB, 100 * KIB, 300 * KIB, BUFFER - 16 * KIB])
def test_requests_of_a_dying_server_are_repeated(tmp_path: Path, size: int) -> None:
    servers = [Server(), Server()]
    with haproxy(tmp_path, servers) as url:
        for _ in range(8):  # it has open connections to both of them
            assert post(url, 1) == "200 1"
        servers[0].dying = True
        assert {post(url, size) for _ in range(8)} == {f"200 {size}"}


def test_requests_of_two_dying_servers_go_to_the_stand_in(
    tmp_path: Path,
) -> None:
    servers, stand_in = [Server(), Server()], Server()
    with haproxy(tmp_path, servers, stand_in) as url:
        for _ in range(8):
            assert post(url, 1) == "200 1"
        for server in servers:
            server.for_good = server.dying = True
        with ThreadPoolExecutor(4) as clients:
            assert set(clients.map(lambda _: post(url, KIB), range(4))) == {f"200 {KIB}"}


def test_a_slow_request_is_repeated_too(tmp_path: Path) -> None:
    servers = [Server(), Server()]
    with haproxy(tmp_path, servers) as url:
        servers[0].dying = True

        def slowly() -> Iterator[bytes]:
            for _ in range(4):
                yield b"x" * KIB
                time.sleep(0.02)

        for _ in range(4):
            headers = {"Content-Length": str(4 * KIB)}
            with requests.Session() as session:
                prepared = session.prepare_request(requests.Request("POST", url, headers=headers))
                prepared.body = slowly()  # type: ignore[assignment]  # requests takes it
                assert session.send(prepared, timeout=PATIENCE_S).text == str(4 * KIB)


def test_a_request_beyond_the_buffer_passes_and_is_not_repeated(tmp_path: Path) -> None:
    servers = [Server(), Server()]
    with haproxy(tmp_path, servers) as url:
        assert post(url, 4 * BUFFER) == f"200 {4 * BUFFER}"
        for server in servers:
            server.dying = True
        try:
            answer = post(url, 4 * BUFFER)
        except requests.ConnectionError:  # where the connection to the server was an old one
            answer = "500"
        assert answer.startswith("500")


def connect(url: str, source: str = LOOPBACK) -> socket.socket:
    """A connection from a source address."""
    return socket.create_connection(place(url), PATIENCE_S, (source, 0))


def place(url: str) -> tuple[str, int]:
    """The host and port of a URL."""
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def heard(url: str, said: bytes, source: str = LOOPBACK) -> str:
    """All that comes back until the connection is closed."""
    with connect(url, source) as connection:
        connection.sendall(said)
        return connection.makefile("rb").read().decode()


def test_a_request_that_does_not_arrive_is_answered_as_errors_are(tmp_path: Path) -> None:
    with haproxy(tmp_path, [Server()], body_timeout_s=1) as url:
        began = heard(url, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        silent = heard(url, b"")
    assert not silent, "the next request on it would take that for its answer"
    head, _, body = began.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 408 ")
    assert "content-type: application/json" in head
    assert body == '{"message": "The request did not arrive in time."}'


ORIGIN = {"Origin": "https://app.example"}
CORS = ["https://other.example, https://app.example", "*"]


@pytest.mark.parametrize("origins", CORS)
def test_its_own_errors_are_json_that_allowed_pages_may_read(tmp_path: Path, origins: str) -> None:
    gone = Server()
    gone.server_close()
    with haproxy(tmp_path, [gone], cors_origins=origins) as url:
        answer = requests.post(url, data=b"{}", headers=ORIGIN, timeout=PATIENCE_S)
        other = requests.post(url, data=b"{}", headers={"Origin": "https://evil.example"}, timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal error."})
    allowed = answer.headers["access-control-allow-origin"]
    assert allowed == ("*" if origins == "*" else ORIGIN["Origin"])
    assert answer.headers["access-control-expose-headers"] == "Retry-After"
    assert ("access-control-allow-origin" in other.headers) == (origins == "*")


@pytest.mark.parametrize("line", ["OPTIONS *", "CONNECT x:443"])
@pytest.mark.parametrize("starting", [True, False])
def test_a_request_without_a_path_is_told_so(tmp_path: Path, line: str, starting: bool) -> None:
    with haproxy(tmp_path, [] if starting else [Server()]) as url:
        said = f"{line} HTTP/1.1\r\nHost: x:443\r\nConnection: close\r\n\r\n"
        head, _, body = heard(url, said.encode()).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 404 ")
    assert "content-type: application/json" in head
    assert body == '{"message": "The request names no path of a route, such as /info."}'


def test_a_body_over_the_limit_is_refused_by_its_length_before_it_comes(tmp_path: Path) -> None:
    server = Server()
    with haproxy(tmp_path, [server], max_body_bytes=KIB) as url:
        for length in (KIB + 1, 99999999999999):
            said = f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
            head, _, body = heard(url, said.encode()).partition("\r\n\r\n")
            assert head.startswith("HTTP/1.1 413 ")
            assert "content-type: application/json" in head
            assert body == '{"message": "the request body is larger than 1024 bytes"}'
        assert post(url, KIB) == f"200 {KIB}"


def test_a_client_that_sends_a_body_over_the_limit_reads_the_refusal(tmp_path: Path) -> None:
    with haproxy(tmp_path, [Server()], max_body_bytes=KIB) as url:
        for size in (2 * KIB, 4 * BUFFER):
            assert post(url, size) == '413 {"message": "the request body is larger than 1024 bytes"}'


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_plain_text_of_serve_becomes_json(tmp_path: Path, status: int) -> None:
    server = Server()
    server.plain_error = status
    with haproxy(tmp_path, [server], cors_origins="*") as url:
        answer = requests.post(url, data=b"x", headers=ORIGIN, timeout=PATIENCE_S)
    assert answer.status_code == status
    assert answer.json()["message"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert ("Retry-After" in answer.headers) == (status == 503)


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ("abc-123", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("a b", False),
        ("caf\xe9", False),
        ("", False),
    ],
)
def test_a_request_id_reaches_serve_only_where_logs_can_hold_it(
    tmp_path: Path, sent: str, passed: bool
) -> None:
    server = Server()
    with haproxy(tmp_path, [server]) as url:
        headers = {"X-Request-ID": sent.encode("latin-1")}
        requests.post(url, data=b"x", headers=headers, timeout=PATIENCE_S)
    assert server.request_ids == ([sent] if passed else [])


def test_two_request_ids_are_none(tmp_path: Path) -> None:
    server = Server()
    ids = b"X-Request-ID: one\r\nX-Request-ID: two\r\n"
    with haproxy(tmp_path, [server]) as url:
        heard(
            url, b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + ids + b"Content-Length: 0\r\n\r\n"
        )
    assert server.request_ids == []


KEPT_OPEN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
GET = KEPT_OPEN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
OTHER_ADDRESS = "127.0.0.2"


def test_one_address_has_a_limited_number_of_connections(tmp_path: Path) -> None:
    with haproxy(tmp_path, [Server()], connections_per_address=3) as url, ExitStack() as held:
        for _ in range(3):
            connection = held.enter_context(connect(url, OTHER_ADDRESS))
            connection.sendall(KEPT_OPEN)
            assert connection.recv(1), "it counts from when HAProxy has taken it"
        assert not heard_or_closed(url, GET, OTHER_ADDRESS)
        assert heard(url, GET).startswith("HTTP/1.1 200 "), "another address is let in"
        held.close()
        while not (answer := heard_or_closed(url, GET, OTHER_ADDRESS)):
            time.sleep(0.05)
        assert answer.startswith("HTTP/1.1 200 "), "a closed connection makes room"


def heard_or_closed(url: str, said: bytes, source: str) -> str:
    """The answer; empty where HAProxy closes the connection, which it may do before `connect` has returned."""
    try:
        return heard(url, said, source)
    except ConnectionError:
        return ""


def test_without_a_limit_an_address_may_have_many_connections(tmp_path: Path) -> None:
    with haproxy(tmp_path, [Server()], connections_per_address=0) as url, ExitStack() as held:
        for _ in range(600):
            held.enter_context(connect(url, OTHER_ADDRESS))
        assert heard(url, GET, OTHER_ADDRESS).startswith("HTTP/1.1 200 ")


def test_clients_do_not_tell_serve_how_to_run_their_requests(tmp_path: Path) -> None:
    from ray.serve._private import constants

    told = [
        constants.SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER,
        constants.SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER,
        constants.SERVE_MULTIPLEXED_MODEL_ID,
        constants.SERVE_MULTIPLEXED_MODEL_ID.replace("_", "-"),
        constants.SERVE_SESSION_ID,
        constants.SERVE_SESSION_ID.replace("-", "_").upper(),
        f"{constants.SERVE_INGRESS_ROUTER_HEADER_PREFIX}anything",
    ]
    server = Server()
    with haproxy(tmp_path, [server]) as url:
        headers = dict.fromkeys(told, "1") | {"X-Other": "1"}
        requests.post(url, data=b"x", headers=headers, timeout=PATIENCE_S)
    assert server.headers_seen & {name.lower() for name in headers} == {"x-other"}


def test_while_it_knows_no_application_it_asks_to_come_back(tmp_path: Path) -> None:
    with haproxy(tmp_path, []) as url:
        answer = requests.post(f"{url}/sam3/concept_segment", data=b"{}", timeout=PATIENCE_S)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json() == {"message": "The server is starting."}


def test_requests_under_way_are_answered_while_new_connections_are_refused(tmp_path: Path) -> None:
    server = Server()
    server.may_answer.clear()
    with haproxy(tmp_path, [server]) as url, ThreadPoolExecutor(2) as threads:
        under_way = threads.submit(post, url, 1)
        assert server.arrived.wait(PATIENCE_S)
        drained = threads.submit(drain, tmp_path / FILES, PATIENCE_S)
        wait_until(lambda: not accepts(*place(url), PATIENCE_S))
        assert not drained.done()
        server.may_answer.set()
        assert under_way.result() == "200 1"
        assert drained.result()
