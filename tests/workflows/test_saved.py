"""Saved workflows: by workspace and id, each tenant its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from inference_sdk import InferenceConfiguration, InferenceHTTPClient
from inference_sdk.http.errors import HTTPCallErrorError

from serve_app.http.tenants import keyfile
from tests.support.scenes import as_json, encoded, scene
from tests.workflows.conftest import ServerFactory
from tests.workflows.specifications import sam3, workflow

RED = workflow(sam3(), found="$steps.sam.predictions")
BLUE = workflow(sam3(class_names="blue square"), found="$steps.sam.predictions")


def save(folder: Path, name: str, definition: Any) -> None:
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(definition))


def client(url: str, key: str | None = None) -> InferenceHTTPClient:
    made = InferenceHTTPClient(api_url=url, api_key=key)
    return made.configure(InferenceConfiguration(api_key_transport="header"))


def classes(result: Any) -> list[str]:
    return [one["class"] for one in result[0]["found"]["predictions"]]


def run(client: InferenceHTTPClient, name: str = "count", **options: Any) -> list[str]:
    return classes(client.run_workflow("shop", name, images={"image": scene()}, **options))


def test_a_saved_workflow_and_its_versions(start_server: ServerFactory, tmp_path: Path) -> None:
    save(tmp_path, "default/shop/count", RED)
    save(tmp_path, "default/shop/count@7", {"specification": BLUE})
    with start_server(workflows_dir=tmp_path) as server:
        assert run(client(server.url)) == ["red circle"] * 2
        assert run(client(server.url), workflow_version_id="7") == ["blue square"]
        with pytest.raises(HTTPCallErrorError) as raised:
            run(client(server.url), workflow_version_id="8")
        assert raised.value.status_code == 404


def test_use_cache(start_server: ServerFactory, tmp_path: Path) -> None:
    save(tmp_path, "default/shop/count", RED)
    with start_server(workflows_dir=tmp_path, workflow_cache_s=1000) as server:
        assert run(client(server.url)) == ["red circle"] * 2
        save(tmp_path, "default/shop/count", BLUE)
        assert run(client(server.url), use_cache=True) == ["red circle"] * 2
        assert run(client(server.url), use_cache=False) == ["blue square"]
        assert run(client(server.url), use_cache=True) == ["blue square"]


def test_the_older_route_and_the_description(start_server: ServerFactory, tmp_path: Path) -> None:
    save(tmp_path, "default/shop/count", RED)
    with start_server(workflows_dir=tmp_path) as server:
        image = as_json(encoded(scene()))
        answer = server.post("/infer/workflows/shop/count", {"inputs": {"image": image}})
        assert classes(answer.json()["outputs"]) == ["red circle"] * 2
        answer = server.post("/shop/workflows/count/describe_interface", {})
        assert answer.json()["inputs"] == {"image": ["image"]}


def test_tenants_have_their_own(start_server: ServerFactory, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    acme, other = keyfile.add(keys, "acme"), keyfile.add(keys, "other")
    folder = tmp_path / "workflows"
    save(folder, "acme/shop/count", RED)
    save(folder, "other/shop/count", BLUE)
    save(folder, "other/shop/secret", BLUE)
    with start_server(api_keys_file=keys, workflows_dir=folder) as server:
        # In turn, so that what one tenant cached is there when the other asks.
        for _ in range(2):
            assert run(client(server.url, acme)) == ["red circle"] * 2
            assert run(client(server.url, other)) == ["blue square"]
        assert run(client(server.url, other), "secret") == ["blue square"]
        with pytest.raises(HTTPCallErrorError) as raised:
            run(client(server.url, acme), "secret")
        assert raised.value.status_code == 404
        assert set(server.segmenter.tenants) == {"acme", "other"}
        assert server.segmenter.encoded == 2, "equal images of two tenants share nothing"
        for route in ("/shop/workflows/count", "/workflows/run", "/workflows/validate"):
            assert server.post(route, {"inputs": {}}).status_code == 401
            assert server.post(route, {"inputs": {}}, params={"api_key": "wrong"}).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "..%2Fother/workflows/secret",
        "%2e%2e/workflows/other",
        "shop/workflows/..%2F..%2Fother%2Fshop%2Fsecret",
        "shop/workflows/..%252F..%252Fother",
        "shop/workflows/count.json",
        "shop/workflows/count%00",
        "shop/workflows/nothing",
        "nowhere/workflows/count",
    ],
)
def test_nothing_outside_the_tenants_folder_is_read(
    start_server: ServerFactory, tmp_path: Path, path: str
) -> None:
    save(tmp_path, "default/shop/count", RED)
    save(tmp_path, "other/shop/secret", BLUE)
    with start_server(workflows_dir=tmp_path) as server:
        prepared = requests.Request("POST", f"{server.url}/x", json={"inputs": {}}).prepare()
        prepared.url = f"{server.url}/{path}"  # as it is: requests would resolve the dots
        assert requests.Session().send(prepared).status_code in (404, 405, 422)


def test_a_saved_workflow_is_no_way_around_the_policy(start_server: ServerFactory, tmp_path: Path) -> None:
    sink = {
        "type": "roboflow_core/local_file_sink@v1",
        "name": "out",
        "content": "x",
        "target_directory": "/tmp",
    }
    save(tmp_path, "default/shop/sink", workflow(sink))
    with start_server(workflows_dir=tmp_path) as server:
        assert server.post("/shop/workflows/sink", {"inputs": {}}).status_code == 400


@pytest.mark.parametrize(
    "field", [{"use_cache": "yes"}, {"workflow_version_id": 5}, {"inputs": []}, {"inputs": None}]
)
def test_fields_are_checked(start_server: ServerFactory, tmp_path: Path, field: dict[str, Any]) -> None:
    save(tmp_path, "default/shop/count", RED)
    with start_server(workflows_dir=tmp_path) as server:
        assert server.post("/shop/workflows/count", {"inputs": {}, **field}).status_code == 422


def test_images_of_workflows_count_for_the_tenants_quota(start_server: ServerFactory, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    key = keyfile.add(keys, "acme", cache_bytes=2**20)
    with start_server(api_keys_file=keys) as server:
        body = {"specification": RED, "inputs": {"image": as_json(encoded(scene()))}, "api_key": key}
        assert requests.post(f"{server.url}/workflows/run", json=body, timeout=60).status_code == 200
        assert server.segmenter.quotas == [2**20]
