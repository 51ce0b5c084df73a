"""SIGTERM: nobody new gets in, and whoever is in gets an answer."""

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from harness.images import as_json, drawing
from harness.server import ServerProcess, server_process
from harness.waiting import wait_until
from serve_app.cli.drain import command, under_way
from serve_app.cli.ray_environment import ADMIN_SOCKET

pytestmark = pytest.mark.slow
REQUESTS = 6
WAIT_S = 60.0
ENCODER = "ServeReplica:sam3:ImageEncoder"


def ask(url: str, number: int) -> int:
    """A click into a new image, which has to be encoded; the status of the answer."""
    prompts = [{"points": [{"x": 70, "y": 80, "positive": True}]}]
    body = {"image": as_json(drawing(number)), "prompts": prompts}
    return requests.post(f"{url}/sam3/visual_segment", json=body, timeout=WAIT_S).status_code


def get(connection: HTTPConnection) -> tuple[int, str | None]:
    """Readiness by a connection that stays open: status, and what the server wants of the connection."""
    connection.request("GET", "/readiness")
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("Connection")


def let_in(server: ServerProcess) -> bool:
    address = urlsplit(server.url)
    try:
        socket.create_connection((address.hostname, address.port), WAIT_S).close()
    except ConnectionRefusedError:
        return False
    return True


def test_requests_that_were_accepted_are_answered_before_the_end(tmp_path: Path) -> None:
    with server_process(tmp_path, encoder_batch_size="1") as server, ThreadPoolExecutor(REQUESTS) as clients:
        (admin_socket,) = server.run_folder().rglob(ADMIN_SOCKET)
        encoders = server.named(ENCODER)
        assert encoders
        with closing(HTTPConnection(urlsplit(server.url).netloc, timeout=WAIT_S)) as kept:
            assert get(kept)[0] == 200
            for each in encoders:
                each.suspend()
            asked = [clients.submit(ask, server.url, number) for number in range(REQUESTS)]
            wait_until(lambda: under_way(command(admin_socket, "show stat")) == REQUESTS, WAIT_S)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not let_in(server), WAIT_S)
            assert not any(each.done() for each in asked), "all are under way still"
            assert get(kept) == (200, "close"), "who is in is asked to leave"
        for each in encoders:
            each.resume()
        assert [each.result() for each in asked] == [200] * REQUESTS
        assert server.process.wait(WAIT_S) == 0
