"""The application as a whole, without sockets."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve_app.http.app import create_app
from serve_app.http.reading.fetch import ImageFetcher
from serve_app.http.sam3.call import all_or_none
from serve_app.settings import Settings
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import as_json, numbered

IMAGE = as_json(numbered(0))


def test_the_segmenter_may_come_later() -> None:
    made: list[FakeSegmenter] = []

    def segmenter() -> FakeSegmenter:
        made.append(FakeSegmenter())
        return made[-1]

    app = create_app(segmenter, Settings())
    assert made == []
    with TestClient(app, base_url="http://localhost") as client:
        assert client.post("/sam3/embed_image", json={"image": IMAGE}).status_code == 200
    assert len(made) == 1


def test_requests_reach_the_segmenter_with_tenant_and_deadline() -> None:
    seen: list[Any] = []

    class Noting(FakeSegmenter):
        async def answer(self, image: Any, request: Any, timings: Any, model: Any = None) -> Any:
            seen.append(timings)
            return await super().answer(image, request, timings, model)

    segmenter = Noting()
    with TestClient(
        create_app(segmenter, Settings(request_timeout_s=50)), base_url="http://localhost"
    ) as client:
        client.post("/sam3/embed_image", json={"image": IMAGE}, headers={"X-Request-ID": "r-1"})
        client.post("/sam3/embed_image", json={"image": [IMAGE, IMAGE]}, headers={"X-Request-ID": "r-2"})
    assert segmenter.tenants == ["default"] * 3
    assert [timings.request_id for timings in seen] == ["r-1", "r-2", "r-2"]
    assert all(timings.deadline is not None for timings in seen)
    assert seen[1] is not seen[2]


def test_the_fetcher_is_closed_in_the_end() -> None:
    closed = []

    class Closing(ImageFetcher):
        async def close(self) -> None:
            closed.append(True)
            await super().close()

    app = create_app(FakeSegmenter(), Settings(), fetcher=Closing(Settings()))
    with TestClient(app, base_url="http://localhost"):
        assert closed == []
    assert closed == [True]


@pytest.mark.parametrize("guarded", [False, True])
def test_security_is_documented_where_there_are_keys(tmp_path: Path, guarded: bool) -> None:
    settings = Settings(api_keys_file=tmp_path / "keys.json" if guarded else None)
    document = create_app(FakeSegmenter(), settings).openapi()
    operation = document["paths"]["/sam3/embed_image"]["post"]
    assert ("security" in operation) == guarded
    assert ("securitySchemes" in document["components"]) == guarded


def test_settings_id_is_the_servers_uuid() -> None:
    with TestClient(
        create_app(FakeSegmenter(), Settings(server_id="abc")), base_url="http://localhost"
    ) as client:
        assert client.get("/info").json()["uuid"] == "abc"
    made = [create_app(FakeSegmenter(), Settings()).state.server_id for _ in range(2)]
    assert made[0] != made[1]


def test_a_prefix_in_front_is_kept_in_links() -> None:
    with TestClient(
        create_app(FakeSegmenter(), Settings()), root_path="/sam", base_url="http://localhost"
    ) as client:
        assert 'href="/sam/docs"' in client.get("/").text
        assert "/sam/docs/assets/swagger-ui-bundle.js" in client.get("/docs").text


async def test_all_or_none_ends_the_others_on_the_first_error() -> None:
    ended = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("slow")

    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        await all_or_none([slow(), failing(), slow()])
    assert ended == ["slow", "slow"]


async def test_all_or_none_keeps_the_order() -> None:
    async def after(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return turns

    assert await all_or_none([after(5), after(0), after(3)]) == [5, 0, 3]
