"""Authenticates requests: finds the tenant of an API key.

A key is read from the query (`api_key`), else from `Authorization: Bearer`, else from the body (`api_key`); the first
key found decides. Without a configured key file the server is open, and all clients are one tenant. While a configured
file cannot be read, every request is refused.
"""

import binascii
import hmac
import logging
import time
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from deployments.fairness.flows import Share
from serve_app.http.errors import RateLimited, Unauthorized
from serve_app.http.tenants.keyfile import KeyFile, KeyFileError, Tenant, hash_key, load
from serve_app.http.tenants.rate import Bucket

logger = logging.getLogger(__name__)

OPEN_TENANT = "default"
UNLIMITED = 2**62
"""A quota in bytes for tenants without one: only the limit for all tenants together applies."""
RECHECK_S = 1.0
"""Seconds between checks of the file for changes: added and revoked keys take effect within this time."""


class KeyRing:
    """The tenants of a key file, which is read again when it changes. Without a path the server is open."""

    def __init__(
        self, path: Path | None, *, recheck_s: float = RECHECK_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._recheck_s = recheck_s
        self._clock = clock
        self._checked = float("-inf")
        self._stamp: tuple[int, int, int] | None = None
        self._file = KeyFile()
        self._tenants: dict[str, Tenant] = {}
        self._buckets: dict[str, Bucket] = {}

    @property
    def open(self) -> bool:
        """True for a server without a key file: clients need no key."""
        return self._path is None

    def tenant(self, key: str | None) -> str:
        """The name of a key's tenant, of whose rate this takes a request. Raises Unauthorized, RateLimited."""
        name = self.owner(key)
        self.take(name)
        return name

    def owner(self, key: str | None) -> str:
        """The name of a key's tenant. Raises Unauthorized."""
        if self._path is None:
            return OPEN_TENANT
        found = self._tenant(self._path, key)
        if found is None:
            raise Unauthorized
        return found.name

    def take(self, tenant: str) -> None:
        """Count a request of a tenant. Raises RateLimited."""
        bucket = self.bucket(tenant)
        wait = bucket.take() if bucket else 0.0
        if wait > 0:
            raise RateLimited(wait)

    def quota(self, tenant: str) -> int | None:
        """Most bytes kept of a tenant's images in each of the tiers warm and cold; None for a tenant that is not in
        the file."""
        found = self._tenants.get(tenant)
        if found is None:
            return None
        return UNLIMITED if found.cache_bytes is None else found.cache_bytes

    def bucket(self, tenant: str) -> Bucket | None:
        """The token bucket of a tenant's rate, in this process; None for a tenant without a rate."""
        found = self._tenants.get(tenant)
        if found is None or found.requests_per_second is None:
            return None
        bucket = self._buckets.get(tenant)
        if bucket is None or bucket.rate != found.requests_per_second:
            bucket = self._buckets[tenant] = Bucket(found.requests_per_second, self._clock)
        return bucket

    def share(self, tenant: str) -> Share:
        """A tenant's part of the server. A tenant that has just left the file keeps an ordinary one."""
        found = self._tenants.get(tenant)
        return Share(tenant, found.weight, found.tenant_class == "batch") if found else Share(tenant)

    def _tenant(self, path: Path, key: str | None) -> Tenant | None:
        self._refresh(path)
        return self._find(key) if key else None

    def _find(self, key: str) -> Tenant | None:
        wanted = hash_key(key)
        now = datetime.now(UTC)
        found = None
        # Every stored hash is compared, each in constant time, so that the time of an answer reveals nothing.
        for tenant in self._file.tenants:
            for stored in tenant.keys:
                if hmac.compare_digest(stored.sha256, wanted) and stored.valid_at(now):
                    found = tenant
        return found

    def _refresh(self, path: Path) -> None:
        now = self._clock()
        if now - self._checked < self._recheck_s:
            return
        self._checked = now
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._file = load(path)
                self._stamp = stamp
                self._tenants = {tenant.name: tenant for tenant in self._file.tenants}
                self._buckets = {name: self._buckets[name] for name in self._tenants if name in self._buckets}
        except (OSError, KeyFileError) as error:
            # Refuse all keys and do not use the old ones: the change that broke the file may revoke a key.
            self._file, self._tenants, self._stamp = KeyFile(), {}, None
            logger.error("no API key is accepted: %s", error)


def bearer_key(authorization: str | None) -> str | None:
    """The key of an `Authorization` header with the Bearer scheme, or None."""
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def password_key(authorization: str | None) -> str | None:
    """The password of an `Authorization` header with the Basic scheme, or None."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(encoded.strip(), validate=True).decode().partition(":")[2] or None
    except (binascii.Error, UnicodeDecodeError):
        return None
