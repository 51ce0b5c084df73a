"""Two ingress replicas and two decoders: what one process alone cannot get wrong. One server for the whole module."""

import json
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from harness.exposed import metric, settled_metric
from harness.listening import accepts
from harness.server import STOP_S, ServerProcess, server_process
from harness.waiting import wait_until
from serve_app.cli.drain import command, under_way
from serve_app.cli.ray_environment import ADMIN_SOCKET
from serve_app.cli.ray_head import logs_in
from tests.support.faulty_encoder import broken
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, numbered

CLIENTS = 50
IMAGES = 48
ACCEPTED = 6
CLICK = {"points": [{"x": 70, "y": 80, "positive": True}]}
QUIET_S = 6.0
"""This server's processes report each second: longer than that takes to be seen, twice."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(
        tmp_path_factory.mktemp("server"),
        module="tests.support.faulty_server",
        ingress_replicas="2",
        decoder_replicas="2",
        max_wait_s="100",  # all fifty are let in, though one encode after the other would take them longer
    ) as running:
        yield running


def embed(server: ServerProcess, file: bytes, **options: Any) -> requests.Response:
    body = {"image": as_json(file), **options}
    return requests.post(f"{server.url}/sam3/embed_image", json=body, timeout=120)


def all_at_once(server: ServerProcess, file: bytes) -> list[requests.Response]:
    """One image from many clients: no encode ends before every request has come."""
    (encoder,) = server.named("ServeReplica:sam3:ImageEncoder")
    encoder.suspend()
    try:
        with ThreadPoolExecutor(CLIENTS) as threads:
            answers = [threads.submit(embed, server, file) for _ in range(CLIENTS)]
            try:
                wait_until(lambda: metric(server.url, "sam3_in_flight", route="/sam3/embed_image") == CLIENTS)
            finally:
                encoder.resume()
            return [answer.result() for answer in answers]
    finally:
        encoder.resume()


def access_logs(server: ServerProcess) -> list[dict[str, dict[str, Any]]]:
    """The lines that each ingress replica has written, by request id."""
    files = (logs_in(server.run_folder()) / "serve").glob("access_*.log")
    logs = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    return [{line["request_id"]: line for line in log} for log in logs]


def spread(server: ServerProcess, answers: Sequence[requests.Response]) -> list[list[requests.Response]]:
    """The answers by the ingress replica that gave them."""
    logs = access_logs(server)
    found = [[one for one in answers if one.headers["X-Request-Id"] in log] for log in logs]
    assert sum(map(len, found)) == len(answers)
    return found


def encodes(server: ServerProcess) -> float:
    """Encodes so far, the last ones included; so the next test need not wait for those of this one."""
    return settled_metric(server.url, "sam3_images_encoded_total", quiet_s=QUIET_S)


def test_fifty_requests_through_both_for_one_new_image_encode_it_once(server: ServerProcess) -> None:
    before = metric(server.url, "sam3_images_encoded_total")
    answers = all_at_once(server, numbered(1))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["image_id"] for answer in answers}) == 1
    assert [len(some) > 5 for some in spread(server, answers)] == [True, True]
    assert encodes(server) == before + 1


def test_a_failed_encode_reaches_everybody_once_and_poisons_nothing(server: ServerProcess) -> None:
    """The encoder fails once. Had each caller an encode of its own, or a second try, only one would see it."""
    before = metric(server.url, "sam3_images_encoded_total")
    answers = all_at_once(server, broken())
    failed = [answer for answer in answers if answer.status_code == 500]
    late = [answer for answer in answers if answer.status_code == 200]  # came when it had failed already
    assert len(failed) + len(late) == CLIENTS
    assert [len(some) > 5 for some in spread(server, failed)] == [True, True]
    assert embed(server, broken()).status_code == 200
    assert embed(server, numbered(2)).status_code == 200
    assert encodes(server) == before + 2


def test_both_tell_the_same_figures_of_all(server: ServerProcess) -> None:
    sent = metric(server.url, "sam3_cache_lookups_total")
    embed(server, numbered(3))
    wait_until(lambda: metric(server.url, "sam3_cache_lookups_total") == sent + 1)
    names: set[str] = set()

    def alike() -> bool:  # some figures are reported every few seconds
        answers = [requests.get(f"{server.url}/metrics", timeout=60) for _ in range(8)]
        assert all(spread(server, answers))
        figures = [ours(answer.text) for answer in answers]
        names.update(name for name, _ in figures[0])
        return all(one == figures[0] for one in figures)

    wait_until(alike)
    assert names >= {"sam3_requests_total", "sam3_images_encoded_total", "sam3_stage_seconds_count"}


def ours(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples of this application's families, but those that asking for them changes."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("sam3_")
        and sample.labels.get("route") != "/metrics"
        and not sample.name.startswith("sam3_http_bytes")
    }


def test_a_decoders_replacement_gets_the_images_that_its_predecessor_had(server: ServerProcess) -> None:
    """Both decoders are asked for all images over and over: those that move to the other one when a decoder dies are
    those that move back when the next one has come."""
    ids = [f"hot-{number}" for number in range(IMAGES)]
    for number, image_id in enumerate(ids):
        embed(server, numbered(100 + number), image_id=image_id)

    def not_hot() -> set[str]:
        """Images that clicks did not find hot."""
        body = {"prompts": [CLICK]}
        answers = {
            image_id: requests.post(
                f"{server.url}/sam3/visual_segment", json={**body, "image_id": image_id}, timeout=120
            )
            for image_id in ids
        }
        lines = {name: line for log in access_logs(server) for name, line in log.items()}
        found = {image_id: lines[answer.headers["X-Request-Id"]] for image_id, answer in answers.items()}
        assert {line["status"] for line in found.values()} == {200}
        return {image_id for image_id, line in found.items() if line["cache"] != "hot"}

    wait_until(lambda: not not_hot())
    victim, _ = server.named("ServeReplica:sam3:PromptDecoder")
    victim.kill()
    moved = not_hot()
    assert 0 < len(moved) < IMAGES
    back: set[str] = set()  # the other decoder has all that moved, and the next one may come at any moment

    def all_back() -> bool:
        back.update(not_hot())
        return back >= moved

    wait_until(all_back)
    # Had it a place of its own, half of all others would have moved too. A few may have: Serve (2.60) asks a replica
    # how busy it is, and goes on to the next one when that takes longer than 0.1 s.
    assert len(back - moved) <= IMAGES // 12


def test_requests_that_were_accepted_are_answered_before_the_end(server: ServerProcess) -> None:
    """SIGTERM: nobody new gets in, and whoever is in gets an answer. The last test of this server."""
    (admin_socket,) = server.run_folder().rglob(ADMIN_SOCKET)
    encoders = server.named("ServeReplica:sam3:ImageEncoder")
    assert encoders
    with (
        ThreadPoolExecutor(ACCEPTED) as clients,
        closing(HTTPConnection(urlsplit(server.url).netloc)) as kept,
    ):
        assert readiness(kept)[0] == 200
        for each in encoders:
            each.suspend()
        asked = [clients.submit(embed, server, numbered(1000 + number)) for number in range(ACCEPTED)]
        wait_until(lambda: under_way(command(admin_socket, "show stat")) == ACCEPTED)
        server.process.send_signal(signal.SIGTERM)
        address = urlsplit(server.url)
        wait_until(lambda: not accepts(str(address.hostname), int(address.port or 0), PATIENCE_S))
        assert not any(each.done() for each in asked), "all are under way still"
        assert readiness(kept)[1] == "close", (
            "an open connection is asked to close; its status depends on time"
        )
        for each in encoders:
            with suppress(psutil.NoSuchProcess):  # on a slow machine a health check may have replaced it
                each.resume()
        assert [each.result().status_code for each in asked] == [200] * ACCEPTED
    assert server.process.wait(STOP_S) == 0


def readiness(connection: HTTPConnection) -> tuple[int, str | None]:
    """By a connection that stays open: status, and what the server wants of the connection."""
    connection.request("GET", "/readiness")
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("Connection")
