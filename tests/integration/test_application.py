"""The deployments as they really run: Ray, Serve, HAProxy, one replica of each."""

import contextlib
import io
import ipaddress
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from harness import exposed
from harness.records import is_refusal
from harness.server import ServerProcess
from harness.waiting import wait_until
from sam3_engine.spec import TINY
from serve_app.cli.addresses import QUIET_PORTS
from serve_app.cli.single_node import AGENT_PORTS
from tests.support.clicks import CLICK, alike, click, post
from tests.support.patience import PATIENCE_S
from tests.support.scenes import HEIGHT, WIDTH, as_json, encoded, numbered, scene

ENDED_S = 60.0
"""Seconds in which work that nobody waits for has ended."""
HAPROXY = "haproxy.cfg"
"""A part of its command line."""


@pytest.fixture
def server(untrained_server: ServerProcess) -> ServerProcess:
    return untrained_server


QUIET_S = 5
"""Longer than two of the intervals at which processes report their metrics."""


def cache(answer: requests.Response) -> str:
    """hit or miss, as the answer's Server-Timing says."""
    parts = dict(part.strip().split(";", 1) for part in answer.headers["Server-Timing"].split(","))
    return parts["cache"].removeprefix("desc=")


def metric(server: ServerProcess, name: str, **labels: str) -> float:
    """The sum of a family's samples over all processes."""
    return exposed.metric(server.url, name, **labels)


def lookups_reach(server: ServerProcess, count: float) -> None:
    """Processes report with a delay: wait until so many requests are counted."""
    wait_until(lambda: metric(server, "sam3_cache_lookups_total") >= count)


def encodes(server: ServerProcess) -> float:
    """Images encoded so far: the figure once it has stood still for longer than processes take to report."""
    return exposed.settled_metric(server.url, "sam3_images_encoded_total", quiet_s=QUIET_S)


def test_two_requests_for_one_image_encode_it_once(server: ServerProcess) -> None:
    post(server, "embed_image", image=as_json(numbered(100)))
    encoded_before = encodes(server)
    requests_before = metric(server, "sam3_cache_lookups_total")
    prompts = [{"type": "text", "text": "red circle"}]
    first = post(server, "concept_segment", image=as_json(numbered(101)), prompts=prompts)
    second = post(server, "concept_segment", image=as_json(numbered(101)), prompts=prompts)
    assert (cache(first), cache(second)) == ("miss", "hit")
    assert first.json()["prompt_results"] == second.json()["prompt_results"]
    lookups_reach(server, requests_before + 2)
    assert encodes(server) == encoded_before + 1


def test_embed_then_click_by_id(server: ServerProcess) -> None:
    image_id = post(server, "embed_image", image=as_json(numbered(1))).json()["image_id"]
    answer = post(server, "visual_segment", image_id=image_id, prompts=[CLICK])
    assert cache(answer) == "hit"
    assert alike(answer.json()["predictions"], click(server, image=as_json(numbered(1)))["predictions"])


def test_an_unknown_id_is_404(server: ServerProcess) -> None:
    answer = post(server, "visual_segment", image_id="never sent", prompts=[CLICK])
    assert answer.status_code == 404
    assert "send the image" in answer.json()["message"]


def test_a_list_of_images_is_answered_in_order(server: ServerProcess) -> None:
    images = [as_json(encoded(scene().resize((40 + number, 30)))) for number in range(12)]
    prompts = [{"type": "text", "text": "red circle"}]
    options = {"prompts": prompts, "output_prob_thresh": 0.0, "format": "rle"}
    answer = post(server, "concept_segment", image=images, **options)
    assert answer.status_code == 200, answer.text
    widths = [one["prompt_results"][0]["predictions"][0]["masks"]["size"][1] for one in answer.json()]
    assert widths == [40 + number for number in range(12)]


def test_images_that_take_turns_under_one_id_are_never_mixed(server: ServerProcess) -> None:
    files = [
        as_json(encoded(scene().resize((128, 96)))),
        as_json(encoded(scene().rotate(90).resize((160, 120)))),
    ]
    truth = [click(server, image=file)["predictions"] for file in files]
    assert not alike(truth[0], truth[1])

    def one(number: int) -> bool:
        which = number % 2
        return alike(click(server, image=files[which], image_id="shared")["predictions"], truth[which])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(one, range(60)))
    for which in (0, 1, 0):
        click(server, image=files[which], image_id="shared")
        assert alike(click(server, image_id="shared")["predictions"], truth[which])


def test_answers_larger_than_a_message(server: ServerProcess) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    image = as_json(encoded(Image.fromarray(noise), "JPEG"))
    prompts = [{"points": [{"x": 100 * n, "y": 70 * n, "positive": True}]} for n in range(1, 16)]
    answer = post(server, "visual_segment", image=image, prompts=prompts, format="binary")
    assert answer.status_code == 200
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
        assert arrays["masks"].shape == (15, 1200, 1600)
        assert arrays["masks"].dtype == np.bool_
        assert arrays["low_res_logits"].shape == (15, TINY.mask_size, TINY.mask_size)


def test_refinement_starts_from_the_saved_logits(server: ServerProcess) -> None:
    image = {"image": as_json(numbered(300))}
    more = {"points": [*CLICK["points"], {"x": 75, "y": 85, "positive": True}]}

    def refined(**options: bool) -> Any:
        return post(server, "visual_segment", **image, prompts=[more], **options).json()["predictions"]

    plain = refined()
    assert refined(load_logits_from_cache=True) == plain, "nothing is saved yet"
    post(server, "visual_segment", **image, prompts=[CLICK], save_logits_to_cache=True)
    assert refined(load_logits_from_cache=True) != plain
    assert refined() == plain


def test_nothing_listens_beyond_loopback(server: ServerProcess) -> None:
    listening = []
    for process in [server.process, *server.descendants()]:
        try:
            connections = process.net_connections(kind="inet")
        except psutil.NoSuchProcess:
            continue
        listening += [(process.name(), one.laddr) for one in connections if one.status == psutil.CONN_LISTEN]
    assert len(listening) > 10, "Ray's own are among them"
    public = [one for one in listening if not _is_loopback(one[1].ip)]
    assert public == []


def _is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def test_a_node_has_the_agents_ports_that_were_chosen(server: ServerProcess) -> None:
    """Each agent listens where the raylet looks for it."""
    session = server.run_folder() / "ray" / "session_latest"
    chosen = {int(path.read_text()) for name in AGENT_PORTS for path in session.glob(f"{name}_*")}
    assert len(chosen & {*QUIET_PORTS}) == len(AGENT_PORTS)
    agents = [*server.named("DashboardAgent"), *server.named("RuntimeEnvAgent")]
    listening = {one.laddr.port for agent in agents for one in agent.net_connections(kind="inet")}
    assert chosen <= listening


def test_every_worker_is_a_copy_of_the_template(server: ServerProcess) -> None:
    (template,) = server.named("worker_template.template")
    workers = [
        *server.named("ServeReplica:sam3:"),
        *server.named("ServeController"),
        *server.named("ProxyActor"),
    ]
    assert len(workers) >= 5
    assert {worker.ppid() for worker in workers} == {template.pid}
    assert all(os.getpgid(worker.pid) == worker.pid for worker in workers), "the raylet kills groups"


def test_while_haproxy_is_dead_new_connections_wait(server: ServerProcess) -> None:
    """Connections that the dead HAProxy had accepted are gone. It knows no application yet when it is back."""
    dead = server.named(HAPROXY)
    for process in dead:
        process.kill()
    wait_until(lambda: not any(running(process) for process in dead))

    def client(_: int) -> list[requests.Response]:
        answers = [requests.get(f"{server.url}/info", timeout=PATIENCE_S)]
        while is_refusal(answers[-1].status_code, "Retry-After" in answers[-1].headers):
            time.sleep(0.1)
            answers.append(requests.get(f"{server.url}/info", timeout=PATIENCE_S))
        return answers

    with ThreadPoolExecutor(8) as threads:
        last = [answers[-1] for answers in threads.map(client, range(8))]
    assert [answer.status_code for answer in last] == [200] * 8
    assert {one.pid for one in server.named(HAPROXY)}.isdisjoint(one.pid for one in dead)


def running(process: psutil.Process) -> bool:
    """True for a process that may hold a socket: not once it waits for its parent to hear of its end."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_haproxy_alone_gets_the_socket_of_the_front_end(server: ServerProcess) -> None:
    port = int(server.url.rpartition(":")[2])
    up = server.named("worker_template.template")[0].ppid()
    holders = {process.pid for process in server.descendants() if listens(process, port)}
    assert holders - {up} == {process.pid for process in server.named(HAPROXY) if listens(process, port)}
    assert len(holders) >= 2
    assert up in holders


def listens(process: psutil.Process, port: int) -> bool:
    """True if the process has a descriptor of a socket that listens on the port."""
    try:
        sockets = process.net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets)


def listed(server: ServerProcess) -> dict[str, dict[str, Any]]:
    images = requests.get(f"{server.url}/sam3/images", timeout=PATIENCE_S).json()["images"]
    return {image["image_id"]: image for image in images}


def test_a_deleted_image_is_gone_from_every_tier(server: ServerProcess) -> None:
    image = as_json(numbered(700))
    content = click(server, image=image)["image_id"]
    for options in ({"save_logits_to_cache": True}, {}):
        click(server, image=image, image_id="goes", **options)
    found = listed(server)["goes"]
    assert (found["width"], found["height"], found["tier"]) == (WIDTH, HEIGHT, "hot")
    assert found["bytes"] == len(numbered(700))
    assert found["embedding_bytes"] > 0

    assert requests.delete(f"{server.url}/sam3/images/goes", timeout=PATIENCE_S).status_code == 200
    assert {"goes", content}.isdisjoint(listed(server))
    for image_id in ("goes", content):
        assert post(server, "visual_segment", image_id=image_id, prompts=[CLICK]).status_code == 404
        assert requests.delete(f"{server.url}/sam3/images/{image_id}", timeout=PATIENCE_S).status_code == 404
    again = post(server, "visual_segment", image=image, prompts=[CLICK])
    assert cache(again) == "miss"


def test_an_image_deleted_while_it_is_encoded_stays_deleted(server: ServerProcess) -> None:
    """Deletions at every moment of a first request, from before it came to after its answer."""
    with ThreadPoolExecutor(4) as threads:
        for number in range(20):
            image_id = f"fleeting-{number}"
            image = as_json(numbered(720 + number))
            embedding = threads.submit(post, server, "embed_image", image=image, image_id=image_id)
            deleted = requests.delete(f"{server.url}/sam3/images/{image_id}", timeout=PATIENCE_S)
            while deleted.status_code == 404 and not embedding.done():
                deleted = requests.delete(f"{server.url}/sam3/images/{image_id}", timeout=PATIENCE_S)
            assert embedding.result().status_code == 200
            if deleted.status_code == 200:
                assert image_id not in listed(server)
                answer = post(server, "visual_segment", image_id=image_id, prompts=[CLICK])
                assert answer.status_code == 404, number


def test_requests_of_clients_that_left_end(server: ServerProcess) -> None:
    """The encoder stands still while they ask and give up: nobody goes on waiting in their place."""
    images = [as_json(numbered(7000 + number)) for number in range(16)]

    def give_up(image: dict[str, str]) -> None:
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.post(f"{server.url}/sam3/embed_image", json={"image": image}, timeout=2)

    (encoder,) = server.named("ServeReplica:sam3:ImageEncoder")
    encoder.suspend()
    try:
        with ThreadPoolExecutor(len(images)) as threads:
            list(threads.map(give_up, images))
        # Their deadlines are later than that.
        wait_until(lambda: not metric(server, "sam3_in_flight", route="/sam3/embed_image"), ENDED_S)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):  # its health check may have had it replaced by now
            encoder.resume()
    click(server, image=as_json(numbered(8000)))


def test_masks_have_the_size_of_the_image(server: ServerProcess) -> None:
    answer = post(server, "visual_segment", image=as_json(numbered(2)), prompts=[CLICK], format="rle").json()
    assert answer["predictions"][0]["masks"]["size"] == [HEIGHT, WIDTH]
