"""The socket that outlives HAProxy: with the real one, on the configuration that the installed Serve writes."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness.waiting import wait_until
from serve_app.cli.addresses import free_ports, in_use
from serve_app.cli.drain import drain
from serve_app.cli.front_socket import DESCRIPTOR, NAME, held, refuse, taken
from serve_app.cli.haproxy import installed
from serve_app.cli.ray_environment import ADMIN_SOCKET
from serve_app.settings import Settings
from tests.support.haproxy import written_by_serve


def connects(port: int) -> bool:
    """Whether a connection is taken, or waits in the queue."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def test_before_anybody_listens_connections_are_refused(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with held("127.0.0.1", port, str(tmp_path / NAME)):
        assert not connects(port)
        with taken(str(tmp_path / NAME)) as front:
            assert front.getsockname() == ("127.0.0.1", port)
            front.listen()
        assert connects(port), "although the one that listened has gone"
        refuse(str(tmp_path / NAME))
        assert not connects(port)
    assert not in_use("127.0.0.1", port)


def test_an_address_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(OSError, match="in use"),
        held("127.0.0.1", other.getsockname()[1], str(tmp_path / NAME)),
    ):
        pass
    assert not (tmp_path / NAME).exists()


def test_a_name_and_ipv6_are_addresses_too(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    for number, host in enumerate(("localhost", "::1", "0.0.0.0", "::")):
        with held(host, port, str(tmp_path / str(number))), taken(str(tmp_path / str(number))) as front:
            assert front.getsockname()[1] == port


def test_who_asks_and_leaves_does_no_harm(tmp_path: Path) -> None:
    path = str(tmp_path / NAME)
    with held("127.0.0.1", free_ports(1)[0], path):
        for _ in range(50):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
        taken(path).close()
    with pytest.raises(OSError):
        taken(path)


def test_a_program_gets_it_as_a_descriptor(tmp_path: Path) -> None:
    from serve_app.cli import front_socket

    path = str(tmp_path / NAME)
    code = f"import socket; print(socket.socket(fileno={DESCRIPTOR}).getsockname()[1])"
    with held("127.0.0.1", (port := free_ports(1)[0]), path):
        command = [sys.executable, "-IS", front_socket.__file__, path, sys.executable, "-c", code]
        assert int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == port


@contextmanager
def haproxy(folder: Path, config: Path, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    """HAProxy as Serve starts it, once it answers its admin socket."""
    admin = folder / ADMIN_SOCKET
    admin.unlink(missing_ok=True)
    with subprocess.Popen(
        [folder / "h" / "haproxy", "-db", "-f", config, "-dR", *arguments], stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until(admin.exists)
            yield process
        finally:
            process.kill()


def status(port: int) -> str:
    """The first line of an answer, once there is one."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET /info HTTP/1.0\r\n\r\n")
        return connection.recv(100).split(b"\r\n")[0].decode()


def test_connections_wait_from_one_haproxys_death_to_the_next_ones_start(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with installed(Settings(port=port), tmp_path / "h"):
        config = written_by_serve(tmp_path, port, [])
        with haproxy(tmp_path, config):
            first = status(port)
            assert first.startswith("HTTP/1."), "503: there is no application"
        answers: list[str] = []
        clients = [threading.Thread(target=lambda: answers.append(status(port))) for _ in range(20)]
        for client in clients:
            client.start()
        config = written_by_serve(tmp_path, port, [])
        with haproxy(tmp_path, config):
            for client in clients:
                client.join()
        assert answers == [first] * 20


def test_new_haproxies_take_over_without_a_refusal(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with installed(Settings(port=port), tmp_path / "h"), ExitStack() as running:
        config = written_by_serve(tmp_path, port, [])
        old = running.enter_context(haproxy(tmp_path, config))
        stop, answers = threading.Event(), []

        def ask() -> None:
            while not stop.is_set():
                answers.append(status(port))

        client = threading.Thread(target=ask)
        client.start()
        for _ in range(3):
            config = written_by_serve(tmp_path, port, [])
            new = running.enter_context(haproxy(tmp_path, config, "-sf", str(old.pid)))
            old.wait(60)
            old = new
        stop.set()
        client.join()
        assert len(set(answers)) == 1


def test_once_it_is_drained_connections_are_refused(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with (
        installed(Settings(port=port), tmp_path / "h"),
        haproxy(tmp_path, written_by_serve(tmp_path, port, [])),
    ):
        assert connects(port)
        assert drain(tmp_path, 30)
        assert not connects(port)


def test_it_is_this_users_alone(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with installed(Settings(port=port), tmp_path / "h"):
        for path in (tmp_path / "h", tmp_path / "h" / "haproxy"):
            assert path.stat().st_uid == os.getuid()
        assert (tmp_path / "h" / "haproxy").stat().st_mode & 0o777 == 0o700
