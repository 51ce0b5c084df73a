"""Serving the playground: caching, headers, negotiation. tests/e2e tests its behaviour in a browser."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from serve_app.http.app import create_app
from serve_app.http.system.playground import wants_json
from serve_app.http.system.playground_files import FOLDER, PREFIX, Playground, fill
from serve_app.settings import Settings
from tests.support.fake_segmenter import FakeSegmenter

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(FakeSegmenter(), Settings()), base_url="http://localhost") as client:
        yield client


def test_the_page_is_asked_for_again_and_costs_a_304(client: TestClient) -> None:
    page = client.get("/", headers=BROWSER)
    assert page.headers["cache-control"] == "no-cache"
    again = client.get("/", headers={**BROWSER, "If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == page.headers["etag"]
    assert client.get("/", headers={**BROWSER, "If-None-Match": '"other"'}).status_code == 200


def test_its_files_are_kept_for_ever(client: TestClient) -> None:
    page = client.get("/", headers=BROWSER).text
    links = set(re.findall(rf'(?:src|href)="({PREFIX}/[^"]+)"', page))
    assert any(link.endswith("/main.js") for link in links)
    assert any(link.endswith("/page.css") for link in links)
    for link in links:
        answer = client.get(link)
        assert answer.status_code == 200, link
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        known = client.get(link, headers={"If-None-Match": f'"x", W/{answer.headers["etag"]}'})
        assert known.status_code == 304


def test_without_the_version_a_file_is_asked_for_again(client: TestClient) -> None:
    sample = client.get(f"{PREFIX}/samples/dusk.jpg")
    assert (sample.status_code, sample.headers["content-type"]) == (200, "image/jpeg")
    assert sample.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["nothing.js", "../http/app.py", "%2e%2e/http/app.py", "index.html", "000000000000/main.js", ""]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    answer = client.get(f"{PREFIX}/{path}")
    assert answer.status_code == 404
    assert "message" in answer.json()


def test_every_module_is_preloaded_and_imports_only_its_neighbours(client: TestClient) -> None:
    page = client.get("/", headers=BROWSER).text
    for path in FOLDER.glob("*.js"):
        assert f"/{path.name}" in page, path.name
        text = path.read_text(encoding="utf-8")
        for imported in re.findall(r'(?:from|import\()\s*"([^"]+)"', text):
            assert re.fullmatch(r"\./\w+\.js", imported), f"{path.name}: {imported}"
            assert (FOLDER / imported).exists(), f"{path.name}: {imported}"


def test_the_policy_allows_nothing_inline_and_no_other_host(client: TestClient) -> None:
    page = client.get("/", headers=BROWSER)
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page.text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page.text)


def test_clients_of_the_api_get_json(client: TestClient) -> None:
    answer = client.get("/", headers={"Accept": "application/json"})
    assert answer.json() == client.get("/info").json()
    assert answer.headers["vary"] == "Accept"
    assert client.get("/", headers=BROWSER).headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),
        (BROWSER["Accept"], False),
        ("application/json", True),
        ("application/json, */*", True),
    ],
)
def test_wants_json(accept: str, json: bool) -> None:
    assert wants_json(accept) is json


def test_a_prefix_in_front_is_in_every_link() -> None:
    with TestClient(
        create_app(FakeSegmenter(), Settings()), root_path="/sam", base_url="http://localhost"
    ) as client:
        page = client.get("/", headers=BROWSER).text
    assert 'data-root="/sam"' in page
    links = re.findall(r'(?:src|href)="(/[^"]*)"', page)
    assert links
    assert all(link.startswith("/sam/") for link in links)


def test_template_values_are_escaped_and_filled_once() -> None:
    page = Playground().page('/a"b', "<model>", "a & {{root}}", "1", True).content.decode()
    assert 'data-root="/a&quot;b"' in page
    assert "<b>&lt;model&gt;</b>" in page
    assert "a &amp; {{root}}" in page
    assert 'data-keys="asked"' in page
    assert 'data-video="off"' in page


def test_fill() -> None:
    assert fill("a {{x}} b {{y}}{{x}}", {"x": "{{y}}", "y": "1"}) == "a {{y}} b 1{{y}}"
    with pytest.raises(KeyError):
        fill("{{z}}", {})


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    for name, text in (("index.html", "x"), ("main.js", "1")):
        (tmp_path / name).write_text(text)
    first = Playground(tmp_path).version
    assert Playground(tmp_path).version == first
    (tmp_path / "main.js").write_text("2")
    assert Playground(tmp_path).version != first
