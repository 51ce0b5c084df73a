import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from serve_app.cli.ray_environment import PODS, apply, environment, new_token
from serve_app.cli.ray_head import LONGEST_PARENT, logs_in, new_run_dir, store_bytes
from serve_app.settings import Settings


def test_it_keeps_ray_on_loopback_and_behind_a_token(tmp_path: Path) -> None:
    fixed, _ = environment(Settings(), tmp_path, "secret")
    assert fixed["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert (fixed["RAY_AUTH_MODE"], fixed["RAY_AUTH_TOKEN"]) == ("token", "secret")
    assert new_token() != new_token()


def test_every_port_and_path_is_this_runs_own(tmp_path: Path) -> None:
    first, second = (environment(Settings(), tmp_path / name, "t")[0] for name in ("a", "b"))
    ports = [name for name in first if name.endswith("_PORT")]
    assert len({first[name] for name in ports}) == len(ports) == 3
    paths = [name for name, value in first.items() if str(tmp_path) in value]
    assert len(paths) == 6
    assert not {first[name] for name in paths} & {second[name] for name in paths}


READERS = (
    "serve/_private/constants.py",
    "_private/ray_constants.py",
    "_private/serialization.py",
    "_private/authentication/authentication_token_setup.py",
    "_common/usage/usage_constants.py",
    "_common/constants.py",
    "dashboard/consts.py",
    "autoscaler/_private/constants.py",
    "_raylet.so",
)
"""Files of Ray that hold the names of its environment variables; the last one without their RAY_."""


def test_ray_knows_every_variable(tmp_path: Path) -> None:
    """One that it does not know would say nothing, and do nothing."""
    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    known = b"".join((Path(spec.origin).parent / name).read_bytes() for name in READERS)
    fixed, tuned = environment(Settings(), tmp_path, "t")
    names = {*fixed, *tuned, *PODS}
    assert {name for name in names if name.removeprefix("RAY_").encode() not in known} == set()
    assert b"SERVE_HAPROXY_OTHER" not in known, "the test would see it"


@pytest.mark.parametrize(("haproxy", "value"), [(True, "1"), (False, "0")])
def test_the_proxy_can_be_chosen(tmp_path: Path, haproxy: bool, value: str) -> None:
    fixed, _ = environment(Settings(haproxy=haproxy), tmp_path, "t")
    assert fixed["RAY_SERVE_ENABLE_HA_PROXY"] == fixed["RAY_SERVE_ENABLE_DIRECT_INGRESS"] == value


def test_tuning_can_be_overridden_and_safety_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"RAY_ADDRESS": "elsewhere", "TUNED": "mine", "FIXED": "mine"})
    apply({"FIXED": "ours"}, {"TUNED": "ours", "OTHER": "ours"})
    assert os.environ == {"FIXED": "ours", "TUNED": "mine", "OTHER": "ours"}


def test_a_runs_directory_is_closed_to_others(tmp_path: Path) -> None:
    run_dir = new_run_dir(Settings())
    try:
        assert run_dir.stat().st_mode & 0o777 == 0o700
        assert len(str(run_dir)) <= LONGEST_PARENT + len("/sam3-abcdefgh")
        assert logs_in(run_dir).is_relative_to(run_dir)
    finally:
        run_dir.rmdir()


def test_a_directory_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 50)
    with pytest.raises(ValueError, match="too long"):
        new_run_dir(Settings(ray_temp_dir=long))
    assert not long.exists()


def test_the_object_store_is_as_large_as_asked_or_as_fits() -> None:
    assert store_bytes(Settings(object_store_bytes="100MiB")) == 100 * 2**20
    assert 0 < store_bytes(Settings()) <= 4 * 2**30
