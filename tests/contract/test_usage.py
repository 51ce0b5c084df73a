"""`GET /sam3/usage` and the headers `RateLimit-*`: a tenant's use of the server, and its limits."""

from pathlib import Path
from typing import Any

import requests

from serve_app.http.tenants import keyfile
from tests.contract.conftest import Client, ServerFactory
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, numbered


def usage(url: str, key: str | None = None, expect: int = 200) -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = requests.get(f"{url}/sam3/usage", headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == expect, answer.text
    return answer.json()


def test_a_server_without_keys_tells_what_everybody_uses(start_server: ServerFactory) -> None:
    with start_server() as url:
        for number, image_id in ((1, "a"), (1, "b"), (2, "c")):
            Client(url).embed({"image": as_json(numbered(number)), "image_id": image_id})
        found = usage(url)
    assert found.pop("time") >= 0
    assert found == {
        "tenant": "default",
        "class": "interactive",
        "weight": 1.0,
        "requests": {"under_way": 0, "waiting": 0, "per_second": None, "remaining": None},
        "files": {"count": 2, "bytes": 2000, "allowed_bytes": None},
        "embeddings": {"count": 0, "bytes": 0, "allowed_bytes": None},
    }


def test_a_tenant_sees_its_own_use_and_limits_and_nobody_elses(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    acme = keyfile.add(
        keys, "acme", cache_bytes=2**20, weight=4, tenant_class="batch", requests_per_second=0.5
    )
    other = keyfile.add(keys, "other")
    with start_server(api_keys_file=keys) as url:
        body = {"image": as_json(numbered(1)), "api_key": other}
        assert requests.post(f"{url}/sam3/embed_image", json=body, timeout=PATIENCE_S).status_code == 200
        found = usage(url, acme)
        assert (found["tenant"], found["class"], found["weight"]) == ("acme", "batch", 4.0)
        assert found["requests"]["per_second"] == 0.5
        assert found["requests"]["remaining"] == 0, "this request was the one that it has"
        assert found["files"] == {"count": 0, "bytes": 0, "allowed_bytes": 2**20}
        assert usage(url, other)["files"]["count"] == 1
        usage(url, "s3k_wrong-wrong-wrong", expect=401)
        usage(url, expect=401)


def test_every_answer_to_a_tenant_with_a_rate_says_what_is_left_of_it(
    start_server: ServerFactory, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    acme = keyfile.add(keys, "acme", requests_per_second=0.02)
    free = keyfile.add(keys, "free")
    with start_server(api_keys_file=keys) as url:

        def headers(key: str, expect: int) -> Any:
            options: Any = {"headers": {"Authorization": f"Bearer {key}"}, "timeout": PATIENCE_S}
            answer = requests.post(f"{url}/sam3/embed_image", json={"image": as_json(numbered(1))}, **options)
            assert answer.status_code == expect
            return answer.headers

        first = headers(acme, 200)
        assert first["ratelimit-limit"] == "1"
        assert first["ratelimit-remaining"] == "0"
        assert 0 < int(first["ratelimit-reset"]) <= 50
        assert first["ratelimit-policy"] == "1;w=50"
        refused = headers(acme, 429)
        assert refused["ratelimit-remaining"] == "0"
        assert 0 < int(refused["retry-after"]) <= 50
        assert not [name for name in headers(free, 200) if name.lower().startswith("ratelimit")]
