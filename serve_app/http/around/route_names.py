"""The route's name in metrics and logs: a path as the application declares it, never the client's own path."""

from collections.abc import Callable, Sequence
from re import Pattern

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Mount, compile_path
from starlette.types import Scope

OTHER = "other"
"""The name for all paths that the application does not have."""


class RouteNames:
    """Names of an application's routes. `routes` is called at the first request, when all routes exist."""

    def __init__(self, routes: Callable[[], Sequence[BaseRoute]]) -> None:
        self._routes = routes
        self._plain: set[str] | None = None
        self._patterns: list[tuple[Pattern[str], str]] = []
        self._mounts: list[str] = []

    def name(self, scope: Scope) -> str:
        """The declared path of the request's route, for any method."""
        plain = self._read() if self._plain is None else self._plain
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        if path in plain:
            return str(path)
        for mount in self._mounts:
            if path.startswith(mount + "/"):
                return mount
        return next((name for pattern, name in self._patterns if pattern.match(path)), OTHER)

    def _read(self) -> set[str]:
        plain = set()
        for route in iter_route_contexts(self._routes()):  # routes of included routers as well
            if route.path is None:
                continue
            if isinstance(route.original_route, Mount):
                self._mounts.append(route.path)
            elif "{" in route.path:
                self._patterns.append((compile_path(route.path)[0], route.path))
            else:
                plain.add(route.path)
        self._plain = plain
        return plain
