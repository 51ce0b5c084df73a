"""`GET /sam3/images` and `DELETE /sam3/images/{image_id}`: a tenant's kept images, and their end."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from serve_app.http.tenants import keyfile
from tests.contract.conftest import Client, ServerFactory
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import HEIGHT, WIDTH, as_json, numbered

CLICK = [{"points": [{"x": 70, "y": 80}]}]


def listed(url: str, **options: Any) -> dict[str, dict[str, Any]]:
    answer = requests.get(f"{url}/sam3/images", timeout=PATIENCE_S, **options)
    assert answer.status_code == 200, answer.text
    return {image["image_id"]: image for image in answer.json()["images"]}


def delete(url: str, image_id: str, **options: Any) -> requests.Response:
    return requests.delete(f"{url}/sam3/images/{quote(image_id, safe='')}", timeout=PATIENCE_S, **options)


def test_an_image_is_listed_with_its_size_its_tier_and_its_age(client: Client) -> None:
    client.embed({"image": as_json(numbered(900)), "image_id": "listed"})
    found = listed(client.url)["listed"]
    assert (found["width"], found["height"]) == (WIDTH, HEIGHT)
    assert found["bytes"] > 0
    assert found["tier"] in ("hot", "warm", "cold")
    assert found["age"] >= 0


@pytest.mark.parametrize(
    "image_id", ["plain", "with/slash", "näme ?&#%2F", "a//b", "/a", " ", "👩\u200d🔬", "...", "a/../b"]
)
def test_a_deleted_image_is_not_there_any_more(client: Client, image_id: str) -> None:
    client.embed({"image": as_json(numbered(901)), "image_id": image_id})
    answer = delete(client.url, image_id)
    assert answer.status_code == 200, answer.text
    assert answer.json()["image_id"] == image_id
    assert image_id not in listed(client.url)
    client.visual({"image_id": image_id, "prompts": CLICK}, expect=404)
    assert delete(client.url, image_id).status_code == 404


@pytest.mark.parametrize("image_id", ["scan\n", "a\nb", "\x00", "\x85", "\u2028", ".", "x" * 513])
def test_an_id_that_cannot_be_stored_deletes_nothing(client: Client, image_id: str) -> None:
    """Above all not an image of another id: `scan` where `scan%0A` is asked for."""
    client.embed({"image": as_json(numbered(907)), "image_id": "scan"})
    path = image_id if image_id == "." else quote(image_id, safe="")
    prepared = requests.Request("DELETE", f"{client.url}/sam3/images/x").prepare()
    prepared.url = f"{client.url}/sam3/images/{path}"  # as it is: `requests` resolves dots
    with requests.Session() as session:
        answer = session.send(prepared, timeout=PATIENCE_S)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"][0] == "path"
    assert "scan" in listed(client.url)


def test_a_path_that_is_not_utf8_names_no_image(client: Client) -> None:
    client.embed({"image": as_json(numbered(908)), "image_id": "\ufffd"})
    answer = requests.delete(f"{client.url}/sam3/images/%FF", timeout=PATIENCE_S)
    assert answer.status_code == 422
    assert "not UTF-8" in answer.json()["detail"][0]["msg"]
    assert delete(client.url, "\ufffd").status_code == 200


def test_a_deleted_image_is_gone_under_its_other_ids_too(client: Client) -> None:
    for image_id in ("one name", "another"):
        client.embed({"image": as_json(numbered(902)), "image_id": image_id})
    assert delete(client.url, "one name").status_code == 200
    client.visual({"image_id": "another", "prompts": CLICK}, expect=404)


def test_an_id_made_by_the_server_deletes_the_image_too(client: Client) -> None:
    image_id = client.embed({"image": as_json(numbered(903))})["image_id"]
    assert delete(client.url, image_id).status_code == 200
    client.visual({"image_id": image_id, "prompts": CLICK}, expect=404)


def test_a_deleted_image_may_be_sent_again(client: Client) -> None:
    body = {"image": as_json(numbered(904)), "image_id": "again"}
    client.embed(body)
    delete(client.url, "again")
    client.embed(body)
    client.visual({"image_id": "again", "prompts": CLICK})


def test_an_id_that_is_not_kept_is_404(client: Client) -> None:
    answer = delete(client.url, "never sent")
    assert answer.status_code == 404
    assert "not in the cache" in answer.json()["message"]


def test_other_tenants_see_and_delete_nothing(tmp_path: Path, start_server: ServerFactory) -> None:
    file = tmp_path / "keys.json"
    mine, other = (keyfile.add(file, name) for name in ("mine", "other"))
    with start_server(FakeSegmenter(), api_keys_file=file) as url:
        Client(url).embed({"image": as_json(numbered(905)), "image_id": "secret"}, params={"api_key": mine})
        assert requests.get(f"{url}/sam3/images", timeout=PATIENCE_S).status_code == 401
        assert delete(url, "secret").status_code == 401
        bearer = {"Authorization": f"Bearer {other}"}
        assert listed(url, headers=bearer) == {}
        assert delete(url, "secret", headers=bearer).status_code == 404
        assert list(listed(url, params={"api_key": mine})) == ["secret"]
        assert delete(url, "secret", params={"api_key": mine}).status_code == 200


def test_a_tenants_quota_reaches_the_cache(tmp_path: Path, start_server: ServerFactory) -> None:
    file = tmp_path / "keys.json"
    key = keyfile.add(file, "small", cache_bytes=5_000_000)
    segmenter = FakeSegmenter()
    with start_server(segmenter, api_keys_file=file) as url:
        Client(url).embed({"image": as_json(numbered(906))}, params={"api_key": key})
    assert segmenter.quotas == [5_000_000]
