import subprocess
from pathlib import Path

import pytest

from serve_app.cli.haproxy import install, program
from serve_app.settings import Settings

# As Ray Serve 2.60 writes it, shortened.
CONFIG = """global
    log 127.0.0.1:514 local0 info
    stats socket /tmp/x/admin.sock mode 666 level admin expose-fd listeners
frontend prometheus
    bind :9101
    http-request use-service prometheus-exporter if { path /metrics }
frontend http_frontend
    bind 127.0.0.1:9001
    log global
    log /tmp/x/metrics.sock len 8192 format rfc5424 local1 debug
backend http-default
    server SERVE_REPLICA_1 127.0.0.1:30000 check
listen stats
  bind *:8404
  stats uri /stats
"""


def corrected(tmp_path: Path, host: str = "127.0.0.1") -> tuple[str, str]:
    """The configuration after the program has run on it, and what the real HAProxy was given."""
    binary = tmp_path / "real"
    binary.write_text('#!/bin/sh\necho "$@"\n')
    binary.chmod(0o700)
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG)
    wrapper = tmp_path / "haproxy"
    wrapper.write_text(program(str(binary), host, Settings(port=9001), "8404", "9101"))
    wrapper.chmod(0o700)
    done = subprocess.run(
        [wrapper, "-db", "-f", config, "-sf", "17"], capture_output=True, text=True, check=True
    )
    return config.read_text(), done.stdout.strip()


def binds(config: str) -> list[str]:
    return [line.split()[1] for line in config.splitlines() if line.strip().startswith("bind ")]


def test_everything_listens_on_loopback(tmp_path: Path) -> None:
    config, _ = corrected(tmp_path)
    assert binds(config) == ["127.0.0.1:9101", "127.0.0.1:9001", "127.0.0.1:8404"]


@pytest.mark.parametrize(("host", "front"), [("0.0.0.0", "0.0.0.0:9001"), ("::", "[::]:9001")])
def test_only_the_front_end_becomes_public(tmp_path: Path, host: str, front: str) -> None:
    config, _ = corrected(tmp_path, host)
    assert binds(config) == ["127.0.0.1:9101", front, "127.0.0.1:8404"]


def test_requests_are_not_logged_and_the_admin_socket_is_the_users_own(tmp_path: Path) -> None:
    config, _ = corrected(tmp_path)
    assert "514" not in config
    assert "mode 600 level admin" in config
    assert "log /tmp/x/metrics.sock" in config, "Serve counts requests by this one"
    assert "server SERVE_REPLICA_1 127.0.0.1:30000 check" in config


def test_the_real_haproxy_is_started_as_serve_asked(tmp_path: Path) -> None:
    _, arguments = corrected(tmp_path)
    assert arguments == f"-db -f {tmp_path}/haproxy.cfg -sf 17"


def test_it_is_installed_for_the_user_alone(tmp_path: Path) -> None:
    install(Settings(), tmp_path / "h", "1", "2")
    assert (tmp_path / "h" / "haproxy").stat().st_mode & 0o777 == 0o700


def test_the_program_is_made_for_the_configuration_that_serve_writes() -> None:
    """The lines that it looks for are those of the installed Serve's template."""
    from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE as TEMPLATE

    for line in [
        "    log {{ config.log_target }} local0 info\n",
        "    stats socket {{ config.socket_path }} mode 666 level admin expose-fd listeners\n",
        "    bind :{{ config.metrics_port }}\n",
        "    option httplog\n",
        "    bind {{ config.frontend_host }}:{{ config.frontend_port }}\n",
        "  bind *:{{ config.stats_port }}\n",
        "    http-request return status 404 content-type text/plain lf-string ",
        'Ping http://.../-/routes for available routes."\n',
    ]:
        assert line in TEMPLATE
    assert TEMPLATE.count("bind ") == 5, "gRPC's, which is off, and the word in a comment"
