import pytest

from serve_app.http.around.visitors import HostNames, same_host


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:9001",
        "LOCALHOST:9001",
        "localhost.",
        "sam3.localhost:9001",
        "127.0.0.1:9001",
        "127.1.2.3",
        "[::1]:9001",
    ],
)
def test_loopback_is_always_allowed(host: str) -> None:
    assert HostNames("127.0.0.1", ()).allow(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9001",
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "192.168.1.5:9001",
        "0.0.0.0:9001",
        "localhost@evil.example",
        "evil.example#localhost",
        "[::1",
        ":9001",
        " ",
    ],
)
def test_other_names_are_not(host: str) -> None:
    assert not HostNames("127.0.0.1", ()).allow(host)


@pytest.mark.parametrize("listens_on", ["0.0.0.0", "::", "192.168.1.5", "desk.example"])
def test_a_server_on_a_network_answers_by_any_address_but_by_no_name(listens_on: str) -> None:
    names = HostNames(listens_on, ())
    for host in ("192.168.1.5:9001", "10.0.0.1", "[fd00::1]:9001", "localhost:9001"):
        assert names.allow(host)
    assert not names.allow("evil.example")


def test_it_answers_by_the_name_that_it_listens_on() -> None:
    assert HostNames("desk.example", ()).allow("DESK.example:9001")


def test_names_can_be_allowed() -> None:
    names = HostNames("127.0.0.1", ("sam.example", "*.lan.example"))
    for host in ("sam.example", "sam.example:443", "a.lan.example", "a.b.lan.example:9001"):
        assert names.allow(host)
    for host in ("lan.example", "evil-lan.example", "a.sam.example", "*.lan.example.evil"):
        assert not names.allow(host)
    assert HostNames("127.0.0.1", ("*",)).allow("anything.example")


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://localhost:9001", "localhost:9001", True),
        ("http://sam.example", "sam.example:80", True),
        ("https://sam.example", "sam.example", True),
        ("https://sam.example", "sam.example:443", True),
        ("http://localhost:3000", "localhost:9001", False),
        ("http://127.0.0.1:9001", "localhost:9001", False),
        ("http://evil.example", "localhost:9001", False),
        ("null", "localhost:9001", False),
        ("", "", False),
        ("http://localhost:port", "localhost:9001", False),
        ("http://[::1", "localhost:9001", False),
    ],
)
def test_an_origin_is_the_servers_own_by_name_and_port(origin: str, host: str, same: bool) -> None:
    assert same_host(origin, host) == same
