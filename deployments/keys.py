"""How images are named: the content key that embeddings live under, and the ids that clients use."""

import hashlib
import re
from dataclasses import dataclass

DERIVED_PREFIX = "sha256-"
"""Ids that begin so name the content with this digest, and nothing else."""
DERIVED_ID = re.compile(DERIVED_PREFIX + r"(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ImageKey:
    """One image's content, for one tenant, under one model. Equal content of another tenant is another
    key."""

    tenant: str
    model: str
    """The engine's `embedding_version`: another model or layout never meets this one's embeddings."""
    digest: str
    """Hex SHA-256 of the image file's bytes."""


def content_digest(content: bytes) -> str:
    """Hex SHA-256 of an image file's bytes."""
    return hashlib.sha256(content).hexdigest()


def derived_id(digest: str) -> str:
    """The image id of an image that its client did not name."""
    return f"{DERIVED_PREFIX}{digest}"


def digest_in(image_id: str) -> str | None:
    """The digest inside an id made by `derived_id`; None for a name that a client chose."""
    match = DERIVED_ID.fullmatch(image_id)
    return match["digest"] if match else None


def affinity(tenant: str, image_id: str, elsewhere: int = 0) -> str:
    """What consistent hashing routes by: requests for one id meet the replica that has its image hot. elsewhere: for
    another replica, most likely; each number leads to one.

    Hashed, so that ids never appear in Ray's logs and the parts cannot run into each other.
    """
    name = f"{len(tenant)}:{tenant}{image_id}".encode()
    return hashlib.blake2b(name, digest_size=16, salt=elsewhere.to_bytes(4)).hexdigest()


def shard_of(tenant: str, name: str, shards: int) -> int:
    """The pool shard, 0 <= shard < shards, that answers for a digest or an image id of a tenant.

    An id that was derived from content lives where the content does.
    """
    name = digest_in(name) or name
    return (
        int.from_bytes(hashlib.blake2b(f"{len(tenant)}:{tenant}{name}".encode(), digest_size=8).digest())
        % shards
    )


def shards_of(tenant: str, name: str, shards: int) -> tuple[int, ...]:
    """The shard of a digest or an id, and the next one, which holds a copy; just the one where there is only
    one."""
    first = shard_of(tenant, name, shards)
    return (first, (first + 1) % shards) if shards > 1 else (first,)
