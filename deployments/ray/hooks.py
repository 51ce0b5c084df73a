"""Methods that Serve calls by their names, as bases of the deployments that have them."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve._private.logging_utils import get_serve_logs_dir

from deployments.ray import ring


class ReportsLoad(ABC):
    """A replica that the autoscaling policy hears of."""

    @abstractmethod
    def load(self) -> dict[str, float]:
        """The replica's load now, by name, as the policy of `deployments.autoscaling` reads it."""

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Serve, about as often as its options say."""
        return self.load()


class HasPlace:
    """A replica that has a place on the ring of `deployments.ray.router`."""

    def record_replica_metadata(self) -> dict[str, float]:
        """Called by Serve once, for the routers."""
        return ring.metadata(serve.get_replica_context().rank.rank)


class AnswersHttp(ABC):
    """A replica that builds its HTTP application itself; to be decorated with `serve.ingress()`."""

    @abstractmethod
    def application(self) -> Any:
        """The ASGI application."""

    def __serve_build_asgi_app__(self) -> Any:
        """Called by Serve, after the constructor."""
        return self.application()


def logs_directory() -> Path:
    """The folder that Serve's processes on this node write their logs into."""
    return Path(get_serve_logs_dir())
