"""The names of images: the content key that embeddings live under, and the ids that clients use."""

import hashlib
import re
from dataclasses import dataclass, field

from deployments.config import ENCODER, ModelName

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
    encoder: str = field(default=ENCODER, compare=False)
    """The deployment that encodes for this model: a place, and no part of the name."""


def are_others(one: ModelName | None, other: ModelName | None) -> bool:
    """True for two models that cannot stand for each other. Equal names do: the model has newer weights. So do equal
    weights under two names."""
    return one is not None and other is not None and all(a != b for a, b in zip(one, other, strict=True))


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


def affinity(tenant: str, digest: str, elsewhere: int = 0) -> str:
    """The key of consistent hashing: requests for one image meet the replica that has it hot.

    elsewhere: each number other than 0 gives a key that most likely leads to another replica.

    Hashed, so that tenants never appear in Ray's logs and the parts cannot run into each other.
    """
    name = f"{len(tenant)}:{tenant}{digest}".encode()
    return hashlib.blake2b(name, digest_size=16, salt=elsewhere.to_bytes(4)).hexdigest()


def shard_of(tenant: str, digest: str, shards: int) -> int:
    """The pool shard, 0 <= shard < shards, that is asked first about an image of a tenant."""
    name = f"{len(tenant)}:{tenant}{digest}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest()) % shards
