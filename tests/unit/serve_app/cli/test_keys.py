from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from serve_app.cli.keys import keys
from serve_app.http.errors import Unauthorized
from serve_app.http.tenants.auth import KeyRing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def run(path: Path, *arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(keys, [*arguments, "--file", str(path)], input=given)


def test_add_shows_a_key_that_works_and_only_once(path: Path) -> None:
    added = run(path, "add", "acme", "--rate", "5")
    assert added.exit_code == 0
    key = added.stdout.strip()
    assert "cannot be shown again" in added.stderr
    assert KeyRing(path).tenant(key) == "acme"
    listed = run(path, "list")
    assert "acme, 5 requests/s" in listed.output
    assert key not in listed.output


def test_a_cache_quota_is_kept_and_listed(path: Path) -> None:
    key = run(path, "add", "acme", "--cache", "2GiB").stdout.strip()
    assert "acme, 2.0GiB of cache" in run(path, "list").output
    ring = KeyRing(path)
    assert ring.quota(ring.tenant(key)) == 2 * 2**30
    assert ring.quota("somebody else") is None
    free = run(path, "add", "free").stdout.strip()
    assert KeyRing(path).tenant(free) == "free"
    refused = run(path, "add", "other", "--cache", "much")
    assert refused.exit_code == 2
    assert "is not a size" in refused.output


def test_rotate_and_revoke(path: Path) -> None:
    old = run(path, "add", "acme").stdout.strip()
    new = run(path, "rotate", "acme", "--grace-hours", "1").stdout.strip()
    assert KeyRing(path).tenant(old) == KeyRing(path).tenant(new) == "acme"
    assert "until" in run(path, "list").output
    newest = run(path, "rotate", "acme").stdout.strip()
    for gone in (old, new):
        with pytest.raises(Unauthorized):
            KeyRing(path).tenant(gone)
    assert run(path, "revoke", "acme").exit_code == 0
    with pytest.raises(Unauthorized):
        KeyRing(path).tenant(newest)


def test_a_key_from_standard_input_is_not_repeated(path: Path) -> None:
    added = run(path, "add", "acme", "--stdin", given="rf_0123456789abcdef\n")
    assert added.exit_code == 0
    assert "rf_0123456789abcdef" not in added.output
    assert KeyRing(path).tenant("rf_0123456789abcdef") == "acme"


@pytest.mark.parametrize(
    ("arguments", "say"),
    [
        (("rotate", "acme"), "no key file"),
        (("revoke", "acme"), "no key file"),
        (("list",), "cannot read"),
        (("add", "a b"), "name"),
        (("add", "acme", "--rate", "0"), "rate"),
        (("add", "acme", "--weight", "0"), "weight"),
        (("add", "acme", "--weight", "nan"), "finite"),
        (("add", "acme", "--class", "fast"), "class"),
        (("change", "acme", "--weight", "2"), "no key file"),
    ],
)
def test_impossible_commands_exit_with_a_message(path: Path, arguments: tuple[str, ...], say: str) -> None:
    done = run(path, *arguments)
    assert done.exit_code in (1, 2)
    assert say in done.output
    assert "Traceback" not in done.output


def test_a_missing_folder_is_one_line(path: Path) -> None:
    done = run(path.parent / "nope" / "keys.json", "add", "acme")
    assert done.exit_code == 1
    assert done.output.startswith("Error: there is no folder ")
    assert len(done.output.splitlines()) == 1


def test_a_tenant_is_given_weight_and_class_and_keeps_its_key(path: Path) -> None:
    key = run(path, "add", "acme", "--weight", "4", "--class", "batch", "--rate", "5").stdout.strip()
    assert "acme, 5 requests/s, weight 4, batch" in run(path, "list").stdout
    assert run(path, "change", "acme", "--weight", "2", "--class", "interactive").exit_code == 0
    assert "acme, 5 requests/s, weight 2\n" in run(path, "list").stdout
    assert KeyRing(path).tenant(key) == "acme"
    unknown = run(path, "change", "other", "--weight", "2")
    assert unknown.exit_code == 1
    assert "no tenant 'other'" in unknown.output


def test_the_file_comes_from_the_environment(path: Path) -> None:
    done = CliRunner().invoke(keys, ["add", "acme"], env={"SAM3_API_KEYS_FILE": str(path)})
    assert done.exit_code == 0
    assert path.exists()
    missing = CliRunner().invoke(keys, ["add", "acme"], env={"SAM3_API_KEYS_FILE": ""})
    assert missing.exit_code == 2
    assert "--file" in missing.output
