"""The routes about the server itself."""

import re

import requests

from tests.contract.conftest import Client, ServerFactory
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, numbered


def test_info(server: str) -> None:
    info = requests.get(f"{server}/info", timeout=PATIENCE_S).json()
    assert {"name", "version", "uuid"} <= set(info)
    assert all(isinstance(info[key], str) and info[key] for key in ("name", "version", "uuid"))
    assert requests.get(f"{server}/info", timeout=PATIENCE_S).json()["uuid"] == info["uuid"]


def test_info_says_that_the_small_model_knows_shapes_only(start_server: ServerFactory) -> None:
    with start_server(model="tiny") as url:
        for page in ("/info", "/", "/openapi.json"):
            assert "only knows coloured shapes" in requests.get(url + page, timeout=PATIENCE_S).text
    with start_server(model="sam3") as url:
        for page in ("/info", "/", "/openapi.json"):
            assert "only knows coloured shapes" not in requests.get(url + page, timeout=PATIENCE_S).text


def test_ready_and_healthy(server: str) -> None:
    ready = requests.get(f"{server}/readiness", timeout=PATIENCE_S)
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    healthy = requests.get(f"{server}/healthz", timeout=PATIENCE_S)
    assert (healthy.status_code, healthy.json()) == (200, {"status": "healthy"})


def test_not_ready_is_503_but_healthy(start_server: ServerFactory) -> None:
    with start_server(FakeSegmenter(is_ready=False)) as url:
        assert requests.get(f"{url}/readiness", timeout=PATIENCE_S).status_code == 503
        assert requests.get(f"{url}/healthz", timeout=PATIENCE_S).status_code == 200


def test_a_server_whose_store_is_away_says_so_and_stays_ready(start_server: ServerFactory) -> None:
    with start_server(FakeSegmenter(store_away=True)) as url:
        ready = requests.get(f"{url}/readiness", timeout=60)
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "store": "away"})
    with start_server(FakeSegmenter(is_ready=False, store_away=True)) as url:
        ready = requests.get(f"{url}/readiness", timeout=60)
        assert (ready.status_code, ready.json()) == (503, {"status": "not ready"})


def test_a_server_that_cannot_ask_is_unhealthy(start_server: ServerFactory) -> None:
    class Broken(FakeSegmenter):
        async def ready(self) -> bool:
            raise RuntimeError("the replicas are gone")

    with start_server(Broken()) as url:
        assert requests.get(f"{url}/readiness", timeout=PATIENCE_S).status_code == 503
        assert requests.get(f"{url}/healthz", timeout=PATIENCE_S).status_code == 503


def test_docs_need_nothing_from_other_hosts(server: str) -> None:
    page = requests.get(f"{server}/docs", timeout=PATIENCE_S).text
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert links
    for link in links:
        assert link.startswith("/"), link
        assert requests.get(server + link, timeout=PATIENCE_S).status_code == 200
    assert "url: '/openapi.json'" in page


def test_the_start_page_leads_on(server: str) -> None:
    page = requests.get(f"{server}/", timeout=PATIENCE_S)
    assert page.headers["content-type"].startswith("text/html")
    for link in re.findall(r'href="([^"]+)"', page.text):
        assert requests.get(server + link, timeout=PATIENCE_S).ok


def test_ignored_query_parameters_are_accepted(client: Client) -> None:
    query = {
        "countinference": "False",
        "service_secret": "x",
        "source": "external",
        "source_info": "y",
        "disable_active_learning": "true",
        "unknown": "z",
    }
    client.embed({"image": as_json(numbered(500))}, params=query)


def test_unknown_fields_are_ignored(client: Client) -> None:
    client.embed({"image": as_json(numbered(501)), "source": "x", "id": 5, "visualize_predictions": True})
