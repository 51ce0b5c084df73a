import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from serve_app.http.tenants import keyfile
from serve_app.http.tenants.keyfile import KeyFileError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_add_makes_a_file_that_holds_hashes_only(path: Path) -> None:
    key = keyfile.add(path, "acme", requests_per_second=5)
    assert len(key) > 40
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    (tenant,) = keyfile.load(path).tenants
    assert tenant.name == "acme"
    assert tenant.requests_per_second == 5
    assert tenant.keys[0].sha256 == keyfile.hash_key(key)


def test_no_folder_is_made_for_a_path_that_may_be_mistyped(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"there is no folder .*/nope: make it, or correct the path"):
        keyfile.add(tmp_path / "nope" / "keys.json", "acme")
    assert list(tmp_path.iterdir()) == []


def test_no_two_keys_are_equal(path: Path) -> None:
    assert len({keyfile.add(path, f"t{number}") for number in range(5)}) == 5


def test_a_key_of_ones_own(path: Path) -> None:
    assert keyfile.add(path, "acme", key=" rf_0123456789abcdef\n") == "rf_0123456789abcdef"
    with pytest.raises(KeyFileError, match="in use"):
        keyfile.add(path, "other", key="rf_0123456789abcdef")
    with pytest.raises(KeyFileError, match="at least 16"):
        keyfile.add(path, "third", key="short")
    assert [tenant.name for tenant in keyfile.load(path).tenants] == ["acme"]


def test_a_name_is_taken_once(path: Path) -> None:
    keyfile.add(path, "acme")
    with pytest.raises(KeyFileError, match="exists"):
        keyfile.add(path, "acme")


@pytest.mark.parametrize(
    ("name", "rate"), [("", 1), ("a b", 1), ("../x", 1), ("x" * 65, 1), ("ok", 0), ("ok", -1)]
)
def test_invalid_names_and_rates_are_refused(path: Path, name: str, rate: float) -> None:
    with pytest.raises(KeyFileError):
        keyfile.add(path, name, requests_per_second=rate)
    assert not path.exists()


def test_rotate_replaces_at_once_by_default(path: Path) -> None:
    old = keyfile.add(path, "acme")
    new = keyfile.rotate(path, "acme")
    (stored,) = keyfile.load(path).tenant("acme").keys
    assert stored.sha256 == keyfile.hash_key(new) != keyfile.hash_key(old)


def test_rotate_with_grace_lets_the_old_key_end_later(path: Path) -> None:
    keyfile.add(path, "acme")
    keyfile.rotate(path, "acme", grace=timedelta(hours=2))
    old, new = keyfile.load(path).tenant("acme").keys
    now = datetime.now(UTC)
    assert old.valid_at(now)
    assert not old.valid_at(now + timedelta(hours=3))
    assert new.expires is None
    keyfile.rotate(path, "acme", grace=timedelta(hours=9))
    oldest = keyfile.load(path).tenant("acme").keys[0]
    assert oldest.expires == old.expires  # a second rotation does not lengthen the first one's grace


def test_revoke_removes_the_tenant(path: Path) -> None:
    keyfile.add(path, "acme")
    keyfile.add(path, "other")
    keyfile.revoke(path, "acme")
    assert [tenant.name for tenant in keyfile.load(path).tenants] == ["other"]


@pytest.mark.parametrize("change", [keyfile.rotate, keyfile.revoke])
def test_unknown_tenants_and_missing_files(path: Path, change: Callable[[Path, str], object]) -> None:
    with pytest.raises(KeyFileError, match="no key file"):
        change(path, "acme")
    keyfile.add(path, "acme")
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="no tenant 'other'"):
        change(path, "other")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 2}',
        '{"tenants": [{"name": "a", "keys": [{"id": "1", "sha256": "SECRET", "created": "2026-01-01T00:00:00Z"}]}]}',
        '{"tenants": [{"name": "a", "password": "SECRET"}]}',
    ],
)
def test_a_broken_file_is_told_without_quoting_it(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(KeyFileError) as raised:
        keyfile.load(path)
    assert str(path) in str(raised.value)
    assert "SECRET" not in str(raised.value)


def test_a_changed_file_keeps_its_mode(path: Path) -> None:
    keyfile.add(path, "acme")
    path.chmod(0o640)
    keyfile.add(path, "other")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed_and_stays_one(path: Path, tmp_path: Path) -> None:
    keyfile.add(path, "acme")
    link = tmp_path / "link.json"
    link.symlink_to(path)
    keyfile.add(link, "other")
    assert link.is_symlink()
    assert len(keyfile.load(path).tenants) == 2


def test_writers_at_the_same_time_lose_nothing(path: Path) -> None:
    keyfile.add(path, "first")
    threads = [threading.Thread(target=keyfile.add, args=(path, f"t{number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keyfile.load(path).tenants) == 9


def test_the_file_is_the_documented_json(path: Path) -> None:
    keyfile.add(path, "acme")
    document = json.loads(path.read_text())
    assert set(document) == {"version", "tenants"}
    assert set(document["tenants"][0]) == {
        "name",
        "requests_per_second",
        "cache_bytes",
        "weight",
        "class",
        "keys",
    }
    assert set(document["tenants"][0]["keys"][0]) == {"id", "sha256", "created", "expires"}


def test_weight_and_class_are_kept(path: Path) -> None:
    keyfile.add(path, "acme", weight=4, tenant_class="batch")
    (tenant,) = keyfile.load(path).tenants
    assert (tenant.weight, tenant.tenant_class) == (4, "batch")
    assert json.loads(path.read_text())["tenants"][0]["class"] == "batch"


def test_a_file_from_before_weights_and_classes_goes_on_working(path: Path) -> None:
    keyfile.add(path, "acme", requests_per_second=5)
    document = json.loads(path.read_text())
    for name in ("weight", "class"):
        del document["tenants"][0][name]
    path.write_text(json.dumps(document))
    (tenant,) = keyfile.load(path).tenants
    assert (tenant.weight, tenant.tenant_class, tenant.requests_per_second) == (1, "interactive", 5)
    keyfile.rotate(path, "acme")


@pytest.mark.parametrize(
    ("weight", "tenant_class"),
    [(0, "batch"), (-1, "batch"), (1001, "batch"), (float("nan"), "batch"), (1, ""), (1, "fast")],
)
def test_invalid_weights_and_classes_are_refused(path: Path, weight: float, tenant_class: Any) -> None:
    with pytest.raises(KeyFileError):
        keyfile.add(path, "acme", weight=weight, tenant_class=tenant_class)
    assert not path.exists()
