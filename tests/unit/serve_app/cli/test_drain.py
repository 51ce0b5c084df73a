import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.cli.drain import CLOSE, FRONT_END, command, drain, under_way
from tests.support.haproxy import written_by_serve

STATISTICS = """# pxname,svname,qcur,qmax,scur,smax,slim
http_frontend,FRONTEND,,,4,9,4096
http-sam3,SERVE_REPLICA_1,0,0,2,2,
http-sam3,BACKEND,1,0,{scur},2,410
http-default,BACKEND,0,0,0,0,410
"""


class Haproxy:
    """Answers on an admin socket: so many requests are under way at each look."""

    def __init__(self, path: Path, counts: list[int]) -> None:
        self.commands: list[str] = []
        self._counts = counts
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                asked = connection.recv(1000).decode().strip()
                self.commands.append(asked)
                if asked == "show stat":
                    scur = self._counts.pop(0) if len(self._counts) > 1 else self._counts[0]
                    connection.sendall(STATISTICS.format(scur=scur).replace(",1,0,0,2", ",0,0,0,2").encode())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "node").mkdir()
    return tmp_path / "node" / "admin.sock"


@pytest.fixture
def haproxy(path: Path, request: pytest.FixtureRequest) -> Iterator[Haproxy]:
    server = Haproxy(path, list(request.param))
    yield server
    server.close()


def test_requests_in_the_backends_count_as_under_way() -> None:
    assert under_way(STATISTICS.format(scur=2)) == 3
    assert under_way("# pxname,svname,qcur,qmax,scur\nhttp-sam3,BACKEND,,,\n") == 0


@pytest.mark.parametrize("haproxy", [[2, 1, 0]], indirect=True)
def test_new_connections_are_refused_before_waiting_for_requests(haproxy: Haproxy, tmp_path: Path) -> None:
    assert drain(tmp_path, 30)
    assert haproxy.commands == [*CLOSE, *["show stat"] * 5]


@pytest.mark.parametrize("haproxy", [[1]], indirect=True)
def test_draining_stops_waiting_at_the_deadline(haproxy: Haproxy, tmp_path: Path) -> None:
    assert not drain(tmp_path, 0.3)
    assert len(haproxy.commands) > len(CLOSE)


def test_without_haproxy_there_is_nothing_to_wait_for(tmp_path: Path, path: Path) -> None:
    assert drain(tmp_path, 30)
    path.touch()
    assert drain(tmp_path, 30)
    with pytest.raises(OSError):
        command(path, "show stat")


def test_serve_names_the_front_end_so(tmp_path: Path) -> None:
    assert f"frontend {FRONT_END}\n" in written_by_serve(tmp_path, 9001, []).read_text()
