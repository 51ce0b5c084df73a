import hashlib

import pytest

from deployments.keys import affinity, content_digest, derived_id, digest_in, shard_of

DIGEST = content_digest(b"an image")


def test_a_derived_id_carries_its_digest() -> None:
    assert hashlib.sha256(b"an image").hexdigest() == DIGEST
    assert digest_in(derived_id(DIGEST)) == DIGEST


@pytest.mark.parametrize(
    "image_id",
    [
        "cat",
        "",
        DIGEST,
        f"sha256-{DIGEST}x",
        f" sha256-{DIGEST}",
        f"sha256-{DIGEST.upper()}",
        f"sha256-{DIGEST}\n",
    ],
)
def test_other_names_carry_none(image_id: str) -> None:
    assert digest_in(image_id) is None


def test_affinity_tells_tenants_and_ids_apart_and_shows_neither() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("a", "c"), ("", "abc"), ("1:a", "b"), ("1", ":ab")]
    routes = {affinity(tenant, image_id) for tenant, image_id in pairs}
    assert len(routes) == len(pairs)
    assert "secret" not in affinity("secret", "secret")


def test_affinity_leads_elsewhere_by_number() -> None:
    ways = [affinity("tenant", "image", elsewhere) for elsewhere in range(3)]
    assert len(set(ways)) == 3
    assert ways == [affinity("tenant", "image", elsewhere) for elsewhere in range(3)]
    assert ways[0] == affinity("tenant", "image")


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_every_shard_gets_its_part(shards: int) -> None:
    found = [shard_of("tenant", f"image-{number}", shards) for number in range(200 * shards)]
    assert set(found) == set(range(shards))
    assert min(map(found.count, range(shards))) > 100
