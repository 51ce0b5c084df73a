"""Observes every request from its first byte to its answer's last, and reports it to metrics and access log."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.observe import tracing
from deployments.observe.metrics import NAMES, Metrics
from serve_app.http.around.admission import STAGE, work_s
from serve_app.http.around.exchange import Exchange
from serve_app.http.around.route_names import RouteNames

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LEFT = 499
"""The status that is reported when the client closes the connection before an answer, as in nginx."""
MOST_TENANTS = 200
"""Most tenants with a metric series of their own in one process; the others share one."""
OTHERS = "(other)"
EVERYBODY = "(all)"


@dataclass(frozen=True, slots=True)
class Observation:
    """One finished request."""

    exchange: Exchange
    method: str
    route: str
    status: int
    seconds: float
    bytes_out: int


Reporter = Callable[[Observation], None]


class Observe:
    """ASGI middleware. Place it inside ExchangeMiddleware and outside of the middleware that compresses answers."""

    def __init__(
        self, app: ASGIApp, *, routes: RouteNames, metrics: Metrics, reporters: tuple[Reporter, ...]
    ) -> None:
        self._app = app
        self._routes = routes
        self._metrics = metrics
        self._reporters = reporters
        self._in_flight: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange: Exchange = scope["state"]["exchange"]
        route = self._routes.name(scope)
        status, sent = LEFT, 0

        async def send_and_count(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        self._count(route, 1)
        client = Headers(scope=scope).get(tracing.HEADER) if tracing.enabled() else None
        opened = tracing.trace(f"{known_method(scope)} {route}", client)
        try:
            with opened as span:
                exchange.trace_id = tracing.trace_id()
                try:
                    await self._app(scope, receive, send_and_count)
                finally:
                    if span is not None:
                        span.set_attributes(_attributes(exchange, route, status))
        finally:
            self._count(route, -1)
            seconds = time.perf_counter() - exchange.started
            observation = Observation(exchange, known_method(scope), route, status, seconds, sent)
            for report in self._reporters:
                try:
                    report(observation)
                except Exception:  # the answer has been sent already
                    logger.exception("request %s cannot be reported", exchange.timings.request_id)

    def _count(self, route: str, change: int) -> None:
        self._in_flight[route] += change
        self._metrics.set(NAMES.in_flight, self._in_flight[route], route=route)


def known_method(scope: Scope) -> str:
    """The request's method, if it is a standard one: a client may send any word."""
    return scope["method"] if scope["method"] in METHODS else "other"


def _attributes(exchange: Exchange, route: str, status: int) -> dict[str, str | int]:
    """The attributes of a request's span, by OpenTelemetry's names where there are any."""
    found: dict[str, str | int] = {
        "http.route": route,
        "http.response.status_code": status,
        "sam3.request_id": exchange.timings.request_id,
        "sam3.prompts": exchange.prompts,
    }
    optional = {
        "sam3.tenant": exchange.tenant,
        "sam3.model": exchange.model,
        "sam3.cache": exchange.timings.cache,
        "error.type": exchange.error,
    }
    return found | {name: value for name, value in optional.items() if value}


class RequestMetrics:
    """Reports requests to metrics. by_tenant: label them by tenant, for up to MOST_TENANTS tenants."""

    def __init__(self, metrics: Metrics, *, by_tenant: bool) -> None:
        self._metrics = metrics
        self._by_tenant = by_tenant
        self._tenants: set[str] = set()

    def __call__(self, seen: Observation) -> None:
        """Count one request."""
        metrics, exchange, status = self._metrics, seen.exchange, str(seen.status)
        metrics.add(NAMES.requests, route=seen.route, status=status, model=exchange.model)
        metrics.observe(NAMES.request_seconds, seen.seconds, route=seen.route, model=exchange.model)
        metrics.add(NAMES.http_bytes, exchange.bytes_in, direction="in")
        metrics.add(NAMES.http_bytes, seen.bytes_out, direction="out")
        if exchange.tenant is not None:
            tenant = self._label(exchange.tenant)
            metrics.add(NAMES.tenant_requests, tenant=tenant, status=status)
            prompts = exchange.prompts * max(len(exchange.sizes), 1)
            metrics.add(NAMES.tenant_prompts, prompts, tenant=tenant)
            metrics.add(NAMES.tenant_work_seconds, work_s(exchange.timings) or 0.0, tenant=tenant)
            metrics.add(NAMES.tenant_wait_seconds, exchange.timings.stages.get(STAGE, 0.0), tenant=tenant)

    def _label(self, tenant: str) -> str:
        if not self._by_tenant:
            return EVERYBODY
        if tenant not in self._tenants:
            if len(self._tenants) >= MOST_TENANTS:
                return OTHERS
            self._tenants.add(tenant)
        return tenant
