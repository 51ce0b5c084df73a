"""The program that Serve starts as HAProxy, on the configuration that the installed Serve writes."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from serve_app.cli.haproxy import install, install_for_pods, program
from serve_app.cli.haproxy_rules import REFUSED, rules
from serve_app.settings import Settings
from tests.support.haproxy import written_by_serve

PORT = 9001


def run(folder: Path, config: Path, host: str = "127.0.0.1") -> "subprocess.CompletedProcess[str]":
    """The program, before a HAProxy that prints its arguments."""
    binary, wrapper = folder / "it's real", folder / "haproxy"
    binary.write_text('#!/bin/sh\necho "$@"\n')
    wrapper.write_text(program(str(binary), host, Settings(port=PORT)))
    for each in (binary, wrapper):
        each.chmod(0o700)
    return subprocess.run([wrapper, "-db", "-f", config, "-sf", "17"], capture_output=True, text=True)


def corrected(folder: Path, host: str = "127.0.0.1") -> str:
    """The configuration after the program has run on it."""
    config = written_by_serve(folder, PORT, [30000], metrics=True)
    done = run(folder, config, host)
    assert done.returncode == 0, done.stderr
    return config.read_text()


def binds(config: str) -> list[str]:
    """The hosts of what listens: HAProxy's metrics, the front end, statistics."""
    lines = [line.split()[1] for line in config.splitlines() if line.strip().startswith("bind ")]
    return [address.rpartition(":")[0] for address in lines]


def test_everything_listens_on_loopback(tmp_path: Path) -> None:
    assert binds(corrected(tmp_path)) == ["127.0.0.1", "127.0.0.1", "127.0.0.1"]


@pytest.mark.parametrize(
    ("host", "front", "options"),
    [("0.0.0.0", "0.0.0.0", ""), ("::", "[::]", ""), ("2001:db8::7", "[2001:db8::7]", " v6only")],
)
def test_only_the_front_end_becomes_public(tmp_path: Path, host: str, front: str, options: str) -> None:
    config = corrected(tmp_path, host)
    assert binds(config) == ["127.0.0.1", front, "127.0.0.1"]
    assert f"bind {front}:{PORT}{options}\n" in config


def test_requests_are_not_logged_and_the_admin_socket_is_the_users_own(tmp_path: Path) -> None:
    config = corrected(tmp_path)
    assert "514" not in config
    assert "mode 600 level admin" in config
    assert f"log {tmp_path}/metrics.sock" in config, "Serve counts requests by this one"
    assert "server s0 127.0.0.1:30000 check" in config


def test_words_that_are_no_origin_do_not_reach_the_configuration() -> None:
    lines = str(
        rules("127.0.0.1", "1", "1", "1", "localhost:3000, https://a.example, 'x' } deny", "1", "failed")
    )
    assert "-m str https://a.example }" in lines
    assert "3000" not in lines
    assert "deny" not in lines


@pytest.mark.parametrize(("setting", "lines"), [("7", ["{ sc0_conn_cur gt 7 }"]), ("0", [])])
def test_pods_read_the_limit_on_connections_when_they_start(
    tmp_path: Path, setting: str, lines: list[str]
) -> None:
    install_for_pods(tmp_path / "haproxy")
    config = written_by_serve(tmp_path, PORT, [30000], host="0.0.0.0")
    environment = {"SAM3_CONNECTIONS_PER_ADDRESS": setting}
    subprocess.run([tmp_path / "haproxy", "-db", "-f", config, "-c"], env=environment, check=True)
    found = [line for line in config.read_text().splitlines() if "sc0_conn_cur" in line]
    assert [line.partition(" if ")[2] for line in found] == lines


@pytest.mark.parametrize(
    ("setting", "lines"),
    [
        ("5000", ["{ req.hdr_val(content-length) gt 5000 }"]),
        ("1.5 MiB", ["{ req.hdr_val(content-length) gt 1572864 }"]),
        ("2MB", ["{ req.hdr_val(content-length) gt 2000000 }"]),
        ("many", []),
    ],
)
def test_pods_read_the_limit_on_bodies_when_they_start(
    tmp_path: Path, setting: str, lines: list[str]
) -> None:
    install_for_pods(tmp_path / "haproxy")
    config = written_by_serve(tmp_path, PORT, [30000], host="0.0.0.0")
    environment = {"SAM3_MAX_BODY_BYTES": setting}
    subprocess.run([tmp_path / "haproxy", "-db", "-f", config, "-c"], env=environment, check=True)
    found = [line for line in config.read_text().splitlines() if "content-length" in line]
    assert [line.partition(" if ")[2] for line in found] == lines
    if lines:
        assert int(Settings(max_body_bytes=setting).max_body_bytes) == int(lines[0].split()[-2])


def test_the_real_haproxy_is_started_as_serve_asked(tmp_path: Path) -> None:
    config = written_by_serve(tmp_path, PORT, [30000])
    assert run(tmp_path, config).stdout.strip() == f"-db -f {tmp_path}/haproxy.cfg -sf 17"


def test_before_there_is_an_application_it_starts_too(tmp_path: Path) -> None:
    config = written_by_serve(tmp_path, PORT, [])
    assert run(tmp_path, config).returncode == 0


def test_it_is_installed_for_the_user_alone(tmp_path: Path) -> None:
    install(Settings(), tmp_path / "h")
    assert (tmp_path / "h" / "haproxy").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("host", "front"), [("0.0.0.0", "*"), ("10.0.0.7", "10.0.0.7")])
def test_in_pods_the_front_end_stays_where_serve_has_put_it(tmp_path: Path, host: str, front: str) -> None:
    install_for_pods(tmp_path / "haproxy")
    config = written_by_serve(tmp_path, PORT, [30000], host=host)
    checked = subprocess.run(  # the real one: it reads the file and ends
        [tmp_path / "haproxy", "-db", "-f", config, "-c"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert binds(config.read_text()) == ["127.0.0.1", front, "127.0.0.1"]


def refused(folder: Path, change: Callable[[str], str]) -> str:
    """The program's message about a configuration that has been changed. The file stays as it was."""
    config = written_by_serve(folder, PORT, [30000])
    text = config.read_text()
    assert change(text) != text
    config.write_text(change(text))
    done = run(folder, config)
    assert (done.returncode, done.stdout) == (1, ""), "the real HAProxy is not started"
    assert config.read_text() == change(text)
    assert Path(f"{config}{REFUSED}").read_text() == done.stderr.strip(), "where `sam3-serve up` looks for it"
    return done.stderr


DIFFERENT = {
    "the front end listens on the host of the settings": "    bind 127.0.0.1:9001\n",
    "statistics stay on loopback": "listen stats\n",
    "HAProxy's metrics stay on loopback": "frontend prometheus\n",
    "only this user commands HAProxy": " mode 666 ",
    "no URL is logged": " local0 info\n",
    "a request arrives whole, and in time": "    option httplog\n",
    "an application that is not known yet is a 503": "    http-request return status 404 content-type text",
    "an answer that no server gave is JSON": "    errorfile 503 ",
}
"""A part of each rule's line, by the rule's name. The rule does not find its line where this part is another one."""


@pytest.mark.parametrize("rule", [name for name, _, _ in rules("127.0.0.1", "1", "1", "1", "", "1", "")])
def test_a_rule_that_finds_nothing_keeps_haproxy_from_starting(tmp_path: Path, rule: str) -> None:
    part = DIFFERENT[rule]
    other = part.replace(part.split()[0], "other")
    said = refused(tmp_path, lambda text: text.replace(part, other))
    assert f"HAProxy is not started, as Serve's configuration of it is not as expected. {rule}: " in said


def test_so_does_one_that_finds_two_lines(tmp_path: Path) -> None:
    assert "statistics stay on loopback: 2 lines" in refused(
        tmp_path, lambda text: text + "listen stats\n  bind *:8405\n"
    )


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            "frontend grpc_frontend\n    bind 0.0.0.0:9000 proto h2\n",
            "leave loopback: bind 0.0.0.0:9000 proto h2",
        ),
        (
            "global\n    stats socket /tmp/other.sock mode 660 level operator\n",
            "command HAProxy: stats socket",
        ),
        ("global\n    log 10.0.0.1:514 local0 debug\n", "logged to an address: log 10.0.0.1:514"),
    ],
)
def test_a_line_that_no_rule_knows_keeps_it_from_starting(tmp_path: Path, more: str, reason: str) -> None:
    assert reason in refused(tmp_path, lambda text: text + more)
