import asyncio
import contextlib
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from deployments.observe.metrics import Metrics
from deployments.protocol import Timings
from sam3_engine.types import ImageSize
from serve_app.http.around.exchange import Exchange
from serve_app.http.around.observe import LEFT, MOST_TENANTS, Observation, Observe, RequestMetrics
from serve_app.http.around.route_names import OTHER, RouteNames


def an_app() -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    router = APIRouter()
    router.add_api_route("/plain", lambda: None, methods=["POST"])
    app.include_router(router)
    app.add_api_route("/images/{image_id}", lambda image_id: None)
    app.mount("/assets", StaticFiles(directory="."))
    return app


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/plain", "/plain"),
        ("/images/a-client-chose-this", "/images/{image_id}"),
        ("/images/a/b", OTHER),
        ("/assets/swagger.js", "/assets"),
        ("/plain/", OTHER),
        ("/nowhere", OTHER),
        ("", OTHER),
    ],
)
def test_routes_have_their_declared_names(path: str, name: str) -> None:
    app = an_app()
    assert RouteNames(lambda: app.routes).name({"path": path, "method": "GET"}) == name
    assert RouteNames(lambda: app.routes).name({"path": "/root" + path, "root_path": "/root"}) == name


async def observed(app: Any, **known: Any) -> tuple[list[Observation], Metrics]:
    """The observations and the figures reported of one request to an ASGI app."""
    metrics = Metrics()
    seen: list[Observation] = []
    routes = RouteNames(lambda: an_app().routes)
    observe = Observe(app, routes=routes, metrics=metrics, reporters=(seen.append,))
    exchange = Exchange(Timings("id"), model_id="m", **known)
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/plain",
        "headers": [],
        "state": {"exchange": exchange},
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    with contextlib.suppress(RuntimeError, asyncio.CancelledError):
        await observe(scope, receive, send)
    return seen, metrics


async def test_an_answer_is_reported_after_it_was_sent() -> None:
    (seen,), metrics = await observed(PlainTextResponse("four", 201))
    assert (seen.route, seen.status, seen.bytes_out, seen.method) == ("/plain", 201, 4, "POST")
    assert metrics.values == {'sam3_in_flight{route="/plain"}': 0}


async def test_requests_being_answered_are_counted() -> None:
    held: list[float] = []
    metrics = Metrics()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        held.append(metrics.values['sam3_in_flight{route="other"}'])

    observe = Observe(app, routes=RouteNames(list), metrics=metrics, reporters=())
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": "/x",
        "state": {"exchange": Exchange(Timings("i"), "m")},
    }
    await observe(scope, None, None)  # type: ignore[arg-type]
    assert held == [1]
    assert metrics.values['sam3_in_flight{route="other"}'] == 0


@pytest.mark.parametrize("error", [RuntimeError("boom"), asyncio.CancelledError()])
async def test_a_client_that_leaves_is_reported_as_such(error: BaseException) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    (seen,), metrics = await observed(app)
    assert seen.status == LEFT
    assert metrics.values == {'sam3_in_flight{route="/plain"}': 0}


async def test_a_report_that_fails_fails_no_request(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Observation) -> None:
        raise RuntimeError("boom")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    observe = Observe(PlainTextResponse("x"), routes=RouteNames(list), metrics=Metrics(), reporters=(broken,))
    exchange = Exchange(Timings("find-me"), model_id="m")
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": "/x",
        "headers": [],
        "state": {"exchange": exchange},
    }
    await observe(scope, None, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 200
    assert "find-me" in caplog.text


def observation(tenant: str | None, status: int = 200, prompts: int = 3, images: int = 2) -> Observation:
    exchange = Exchange(Timings("id"), model_id="m", bytes_in=10, tenant=tenant, prompts=prompts)
    exchange.sizes = [ImageSize(1, 1)] * images
    return Observation(exchange, "POST", "/plain", status, 0.5, 20)


def test_a_request_is_counted_by_route_status_and_tenant() -> None:
    metrics = Metrics()
    seen = observation("acme")
    seen.exchange.timings.add({"admission": 2.0, "queue": 0.5, "prompt": 0.25, "post": 0.5})
    RequestMetrics(metrics, by_tenant=True)(seen)
    assert metrics.values == {
        'sam3_requests_total{model="",route="/plain",status="200"}': 1,
        'sam3_request_seconds_count{model="",route="/plain"}': 1,
        'sam3_http_bytes_total{direction="in"}': 10,
        'sam3_http_bytes_total{direction="out"}': 20,
        'sam3_tenant_requests_total{status="200",tenant="acme"}': 1,
        'sam3_tenant_prompts_total{tenant="acme"}': 6,
        'sam3_tenant_work_seconds_total{tenant="acme"}': 0.75,
        'sam3_tenant_wait_seconds_total{tenant="acme"}': 2.0,
    }


def test_requests_without_a_tenant_have_no_tenant_series() -> None:
    metrics = Metrics()
    RequestMetrics(metrics, by_tenant=True)(observation(None, 401))
    assert not any("tenant" in series for series in metrics.values)


def test_tenants_names_are_shown_only_when_asked_for() -> None:
    metrics = Metrics()
    RequestMetrics(metrics, by_tenant=False)(observation("acme"))
    assert metrics.values['sam3_tenant_requests_total{status="200",tenant="(all)"}'] == 1
    assert "acme" not in str(metrics.values)


def test_ever_new_tenants_do_not_make_ever_new_series() -> None:
    metrics = Metrics()
    report = RequestMetrics(metrics, by_tenant=True)
    for number in range(MOST_TENANTS + 50):
        report(observation(f"tenant-{number}"))
    series = [name for name in metrics.values if name.startswith("sam3_tenant_requests_total")]
    assert len(series) == MOST_TENANTS + 1
    assert metrics.values['sam3_tenant_requests_total{status="200",tenant="(other)"}'] == 50
