"""A server without keys, asked by foreign names and by pages of other origins."""

from pathlib import Path
from typing import Any

import pytest
import requests

from serve_app.http.tenants import keyfile
from tests.contract.conftest import ServerFactory
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, encoded, scene

EMBED = "/sam3/embed_image"
BODY = {"image": as_json(encoded(scene()))}
FOREIGN = {"Host": "evil.example:9001"}


def post(url: str, **headers: str) -> requests.Response:
    return requests.post(url + EMBED, json=BODY, headers=headers, timeout=PATIENCE_S)


@pytest.mark.parametrize("route", ["/", "/info", "/docs", "/openapi.json", "/metrics", "/sam3/images"])
def test_a_foreign_host_is_403(start_server: ServerFactory, route: str) -> None:
    with start_server() as url:
        answer = requests.get(url + route, headers=FOREIGN, timeout=PATIENCE_S)
        assert answer.status_code == 403
        assert "SAM3_ALLOWED_HOSTS" in answer.json()["message"]
        assert answer.headers["x-request-id"]
        assert post(url, **FOREIGN).status_code == 403


@pytest.mark.parametrize("route", ["/readiness", "/healthz"])
def test_probes_may_use_any_name(start_server: ServerFactory, route: str) -> None:
    with start_server() as url:
        assert requests.get(url + route, headers=FOREIGN, timeout=PATIENCE_S).status_code == 200


def test_a_host_can_be_allowed(start_server: ServerFactory) -> None:
    with start_server(allowed_hosts="evil.example, other.example") as url:
        assert post(url, **FOREIGN).status_code == 200
        assert post(url, Host="third.example").status_code == 403


def test_a_server_with_keys_answers_by_any_name(start_server: ServerFactory, tmp_path: Path) -> None:
    key = keyfile.add(tmp_path / "keys.json", "acme")
    settings: dict[str, Any] = {"api_keys_file": tmp_path / "keys.json"}
    headers = {**FOREIGN, "Authorization": f"Bearer {key}", "Sec-Fetch-Site": "cross-site"}
    with start_server(**settings) as url:
        assert post(url, **headers).status_code == 200
    with start_server(allowed_hosts="sam.example", **settings) as url:
        assert post(url, **headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    ],
)
def test_what_pages_of_other_origins_send_is_403(
    start_server: ServerFactory, headers: dict[str, str]
) -> None:
    with start_server() as url:
        answer = post(url, **headers)
        assert answer.status_code == 403
        assert "SAM3_CORS_ORIGINS" in answer.json()["message"]
        gone = requests.delete(f"{url}/sam3/images/x", headers=headers, timeout=PATIENCE_S)
        assert gone.status_code == 403
        assert requests.get(f"{url}/info", headers=headers, timeout=PATIENCE_S).status_code == 200


def test_the_servers_own_pages_and_programs_may(start_server: ServerFactory) -> None:
    with start_server() as url:
        assert post(url).status_code == 200
        assert post(url, Origin=url).status_code == 200
        assert post(url, Origin=url, **{"Sec-Fetch-Site": "same-origin"}).status_code == 200
        # Behind a proxy, `Host` may be another one than the page's.
        assert post(url, Origin="https://sam.example", **{"Sec-Fetch-Site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("origins", ["https://app.example, https://other.example", "*"])
def test_pages_that_cors_allows_may(start_server: ServerFactory, origins: str) -> None:
    with start_server(cors_origins=origins) as url:
        answer = post(url, Origin="https://app.example", **{"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 200
        third = post(url, Origin="https://third.example", **{"Sec-Fetch-Site": "cross-site"})
        assert third.status_code == (200 if origins == "*" else 403)


def test_the_documentation_has_a_policy(server: str) -> None:
    headers = requests.get(f"{server}/docs", timeout=PATIENCE_S).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "script-src 'self' 'sha256-" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
