import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.fairness.flows import Share
from serve_app.http.errors import RateLimited, Unauthorized
from serve_app.http.tenants import keyfile
from serve_app.http.tenants.auth import OPEN_TENANT, UNLIMITED, KeyRing, bearer_key


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_without_a_file_everybody_is_one_tenant() -> None:
    ring = KeyRing(None)
    assert ring.open
    assert ring.tenant(None) == ring.tenant("anything") == OPEN_TENANT


def test_a_key_names_its_tenant(path: Path) -> None:
    keys = {name: keyfile.add(path, name) for name in ("acme", "other")}
    ring = KeyRing(path)
    assert not ring.open
    for name, key in keys.items():
        assert ring.tenant(key) == name


def test_a_tenants_share_follows_the_file(path: Path) -> None:
    clock = Clock()
    key = keyfile.add(path, "acme", weight=4, tenant_class="batch")
    ring = KeyRing(path, clock=clock)
    assert ring.share(ring.tenant(key)) == Share("acme", 4.0, batch=True)
    keyfile.change(path, "acme", weight=2, tenant_class="interactive")
    clock.now += 10
    assert ring.share(ring.tenant(key)) == Share("acme", 2.0)
    assert KeyRing(None).share(OPEN_TENANT) == Share(OPEN_TENANT)


@pytest.mark.parametrize("key", [None, "", "x", "s3k_" + "a" * 43, "\udcff", "é" * 100])
def test_unknown_keys_are_refused(path: Path, key: str | None) -> None:
    keyfile.add(path, "acme")
    with pytest.raises(Unauthorized):
        KeyRing(path).tenant(key)


def test_the_hash_is_not_a_key(path: Path) -> None:
    key = keyfile.add(path, "acme")
    with pytest.raises(Unauthorized):
        KeyRing(path).tenant(keyfile.hash_key(key))


def test_an_expired_key_is_refused(path: Path) -> None:
    old = keyfile.add(path, "acme")
    new = keyfile.rotate(path, "acme", grace=timedelta(hours=1))
    assert KeyRing(path).tenant(old) == KeyRing(path).tenant(new) == "acme"
    file = keyfile.load(path)
    file.tenants[0].keys[0].expires = datetime.now(UTC) - timedelta(seconds=1)
    path.write_text(file.model_dump_json())
    with pytest.raises(Unauthorized):
        KeyRing(path).tenant(old)
    assert KeyRing(path).tenant(new) == "acme"


def test_the_file_is_read_again_when_it_changed_and_not_before_its_time(path: Path) -> None:
    clock = Clock()
    old = keyfile.add(path, "acme")
    ring = KeyRing(path, recheck_s=1, clock=clock)
    assert ring.tenant(old) == "acme"
    new = keyfile.rotate(path, "acme")
    assert ring.tenant(old) == "acme"
    clock.now += 1
    with pytest.raises(Unauthorized):
        ring.tenant(old)
    assert ring.tenant(new) == "acme"


@pytest.mark.parametrize("harm", ["break", "remove"])
def test_a_file_that_cannot_be_read_closes(path: Path, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    key = keyfile.add(path, "acme")
    ring = KeyRing(path, recheck_s=0)
    assert ring.tenant(key) == "acme"
    text = path.read_text()
    path.write_text("{") if harm == "break" else path.unlink()
    with caplog.at_level(logging.ERROR), pytest.raises(Unauthorized):
        ring.tenant(key)
    assert "no API key is accepted" in caplog.text
    path.write_text(text)
    assert ring.tenant(key) == "acme"


def test_rates_are_each_tenants_own(path: Path) -> None:
    clock = Clock()
    slow = keyfile.add(path, "slow", requests_per_second=1)
    free = keyfile.add(path, "free")
    ring = KeyRing(path, clock=clock)
    ring.tenant(slow)
    with pytest.raises(RateLimited) as raised:
        ring.tenant(slow)
    assert raised.value.retry_after_s == pytest.approx(1)
    for _ in range(50):
        ring.tenant(free)
    clock.now += 1
    assert ring.tenant(slow) == "slow"


def test_a_quota_counts_from_the_files_next_version_on(path: Path) -> None:
    key = keyfile.add(path, "acme", cache_bytes=1000)
    ring = KeyRing(path, recheck_s=0)
    ring.tenant(key)
    assert ring.quota("acme") == 1000
    file = keyfile.load(path)
    file.tenants[0].cache_bytes = None
    path.write_text(file.model_dump_json())
    ring.tenant(key)
    assert ring.quota("acme") == UNLIMITED
    assert ring.quota("nobody") is None
    assert KeyRing(None).quota(OPEN_TENANT) is None


def test_a_changed_rate_counts(path: Path) -> None:
    key = keyfile.add(path, "acme", requests_per_second=1)
    ring = KeyRing(path, recheck_s=0, clock=Clock())
    ring.tenant(key)
    file = keyfile.load(path)
    file.tenants[0].requests_per_second = 100
    path.write_text(file.model_dump_json())
    for _ in range(50):
        ring.tenant(key)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("abc", None),
        ("", None),
        (None, None),
    ],
)
def test_bearer_key(header: str | None, key: str | None) -> None:
    assert bearer_key(header) == key
