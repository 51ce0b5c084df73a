"""The environment that Ray and Serve of `sam3-serve up` run in. Ray reads it when it is imported.

The variables that keep the server on loopback and apart from other clusters are set in any case. The variables that
only tune it can be overridden from outside.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from serve_app.cli.addresses import free_ports
from serve_app.settings import Settings

ADMIN_SOCKET = "admin.sock"
"""Name of HAProxy's command socket, in its directory."""
SHUTDOWN_S = "1"
"""Seconds that an ingress goes on listening while it is being stopped and no proxy sends it requests any more."""


SERVING = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_metrics_report_interval_ms": "5000",
    # A raylet ends when an agent of its node has not started within 30 s, by default. A busy machine needs more.
    "RAY_agent_register_timeout_ms": "120000",
    # A worker that registers after 60 s, by default, is refused, and a driver that waits for it waits for ever.
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_worker_niceness": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # That keeps a replica's log back until it has 1000 lines. Without Serve's access log there are few.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # Images and answers between replicas may be larger than gRPC's default of 4 MB.
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**31 - 1),
    # Ray never frees an object that a reference in such a message refers to: rather an error than a leak.
    "RAY_allow_out_of_band_object_ref_serialization": "0",
    # A replica that hangs cannot finish its requests: they are repeated elsewhere as soon as it is dead.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    # A request that a dying ingress did not begin to answer is sent to another one (docs/retries.md).
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    # Where two died at once, each is met twice: while it dies, and to find its door shut. That takes it out, so that
    # the last try is on one that lives, or on Serve's own proxy, which holds the request until there is one.
    "RAY_SERVE_HAPROXY_RETRIES": "5",
    "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
    # It can only repeat what it has whole in its buffer (by default 16 KiB, less than most images).
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(2**20),
    # Replicas that come and go make a new HAProxy take over from the old one, which closes what is idle. A
    # connection whose request is still on its way looks idle: it gets a moment.
    "RAY_SERVE_HAPROXY_CLOSE_SPREAD_TIME_S": "2",
    # After the third failed check a new HAProxy is started: nobody gets in meanwhile.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.25",
    # On a busy machine HAProxy needs more than the default 5 s to come up, and is killed for it.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
}
"""Tuning of Ray and Serve wherever they run: `scripts/k8s_config.py` gives it to the pods of a cluster too."""


PODS = {
    # The program that keeps HAProxy's statistics on loopback (serve_app/cli/haproxy.py); the image has it there.
    "RAY_SERVE_HAPROXY_BINARY_PATH": "/usr/local/bin/sam3-haproxy",
    # HAProxies of other nodes go on sending requests until they have heard that an ingress is stopping.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
    "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "10",
}
"""Variables that the pods of a cluster need besides SERVING."""

SEVERAL_MACHINES = {
    # The death of a node is noticed within 3 s, not 15 (docs/scaling.md).
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""Variables that a cluster of several machines needs besides SERVING and PODS."""


def proxy(settings: Settings) -> dict[str, str]:
    """Variables that choose the proxy in front of the ingress: HAProxy, or Serve's own."""
    on = str(int(settings.haproxy))
    # With Serve's own proxy in front, ingress replicas need no port of their own.
    return {"RAY_SERVE_ENABLE_HA_PROXY": on, "RAY_SERVE_ENABLE_DIRECT_INGRESS": on}


def environment(settings: Settings, proxy_dir: Path, token: str) -> tuple[dict[str, str], dict[str, str]]:
    """Two sets of variables: the first to set in any case, the second unless they are set already.

    proxy_dir: the folder for HAProxy's files. token: Ray's, which each of its processes asks for.
    """
    stats, metrics, fallback = map(str, free_ports(3))
    fixed = {
        # Ray takes loopback for this node's address (whatever the variable's name says), so that every part of it
        # binds 127.0.0.1; and each process asks for the token before it runs anything for anybody.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": fallback,
        **proxy(settings),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(proxy_dir / "haproxy"),
        "RAY_SERVE_HAPROXY_STATS_PORT": stats,
        "RAY_SERVE_HAPROXY_METRICS_PORT": metrics,
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(proxy_dir / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(proxy_dir / ADMIN_SOCKET),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(proxy_dir / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(proxy_dir),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(proxy_dir / "server-state"),
    }
    tuned = {
        **SERVING,
        # A model that cannot be loaded cannot be loaded the second time either.
        "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": SHUTDOWN_S,
    }
    return fixed, tuned


def apply(fixed: Mapping[str, str], tuned: Mapping[str, str]) -> None:
    """Set this process's environment, which everything that it starts inherits."""
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.update(fixed)
    for name, value in tuned.items():
        os.environ.setdefault(name, value)


def new_token() -> str:
    """A secret for one run's Ray cluster."""
    return secrets.token_hex(32)
