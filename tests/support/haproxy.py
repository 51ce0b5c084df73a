"""HAProxy's configuration as the installed Serve writes it, in the environment that we give it."""

from collections.abc import Sequence
from pathlib import Path

from serve_app.cli.addresses import free_ports
from serve_app.cli.haproxy import LOOPBACK
from serve_app.cli.ray_environment import SERVING


def written_by_serve(
    folder: Path,
    port: int,
    servers: Sequence[int],
    stand_in: int | None = None,
    host: str = LOOPBACK,
    metrics: bool = False,
) -> Path:
    """The file. servers: their ports, all of one application; none is no application. stand_in: the port that is asked
    where all servers are down. metrics: Serve counts requests by HAProxy's log."""
    from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
    from ray.serve.config import HTTPOptions

    stats_port, metrics_port = free_ports(2)
    target = folder / "haproxy.cfg"
    config = HAProxyConfig(
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        stats_port=stats_port,
        metrics_port=metrics_port,
        metrics_enabled=metrics,
        metrics_socket_path=str(folder / "metrics.sock"),
        http_options=HTTPOptions(host=host, port=port),
        retry_on=SERVING["RAY_SERVE_HAPROXY_RETRY_ON"],
        retries=int(SERVING["RAY_SERVE_HAPROXY_RETRIES"]),
        bufsize=int(SERVING["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"]),
        observe_error_limit=int(SERVING["RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT"]),
    )
    backend = BackendConfig(
        name="app",
        path_prefix="/",
        app_name="app",
        servers=[
            ServerConfig(name=f"s{place}", host=LOOPBACK, port=server) for place, server in enumerate(servers)
        ],
        fallback_server=ServerConfig(name="stand-in", host=LOOPBACK, port=stand_in) if stand_in else None,
    )
    HAProxyApi(config, {"app": backend} if servers else {}, str(target))._generate_config_file_internal()
    return target
