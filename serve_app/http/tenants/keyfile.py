"""The key file: the tenants, and the hashes of their keys.

    {"version": 1, "tenants": [{"name": "acme", "requests_per_second": 20, "cache_bytes": 2147483648, "weight": 4,
      "class": "interactive",
      "keys": [{"id": "1f6c90ab", "sha256": "...", "created": "2026-01-31T12:00:00Z", "expires": null}]}]}

A key is 32 random bytes, so guessing cannot reverse a plain SHA-256 of it, which is fast enough for every request. The
key itself is shown once, when it is made, and stored nowhere. The file is replaced as a whole, so that a reader sees
the old or the new one. Only its owner can read it. A lock file prevents two writers at the same time.
"""

import fcntl
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic import ValidationError as PydanticError

KEY_PREFIX = "s3k_"
MIN_KEY_CHARACTERS = 16

TenantClass = Literal["interactive", "batch"]
MAX_WEIGHT = 1000.0
INVALID = (
    "a tenant's name is 1-64 letters, digits, dots, dashes or underscores; its rate is above 0, its cache not below; "
    f"its weight is above 0 and at most {MAX_WEIGHT:g}; its class is interactive or batch"
)
TenantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class KeyFileError(Exception):
    """The file cannot be read or changed; the message says why."""


class StoredKey(BaseModel):
    """The hash of one key of a tenant."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created: AwareDatetime
    expires: AwareDatetime | None = None

    def valid_at(self, now: datetime) -> bool:
        """True if the key has not expired at `now`, a time with a zone."""
        return self.expires is None or now < self.expires


class Tenant(BaseModel):
    """A client, or a group of clients, of the server. Tenants share no cached data."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, serialize_by_alias=True, validate_by_name=True
    )

    name: TenantName
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    cache_bytes: Annotated[int, Field(ge=0)] | None = None
    """Most bytes kept of this tenant's embeddings, and as many again of its image files."""
    weight: Annotated[float, Field(gt=0, le=MAX_WEIGHT)] = 1.0
    """Its share of the server beside other busy tenants of its class: twice the weight, twice the work."""
    tenant_class: Annotated[TenantClass, Field(alias="class")] = "interactive"
    """`batch` comes after interactive tenants, and waits longer before it is refused."""
    keys: list[StoredKey] = []


class KeyFile(BaseModel):
    """All tenants."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    version: Annotated[int, Field(ge=1, le=1)] = 1
    tenants: list[Tenant] = []

    def tenant(self, name: str) -> Tenant:
        """The tenant of that name. Raises KeyFileError for an unknown name."""
        for tenant in self.tenants:
            if tenant.name == name:
                return tenant
        raise KeyFileError(f"there is no tenant {name!r}")


def hash_key(key: str) -> str:
    """The hash of a key, as the file holds it."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def load(path: Path) -> KeyFile:
    """Read the file. Raises KeyFileError; its message never quotes the file."""
    try:
        return KeyFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    except PydanticError as error:
        places = ", ".join(".".join(map(str, item["loc"])) or "the file" for item in error.errors()[:3])
        raise KeyFileError(f"{path} is not a valid key file: see {places}") from None


def add(
    path: Path,
    name: str,
    *,
    key: str | None = None,
    requests_per_second: float | None = None,
    cache_bytes: int | None = None,
    weight: float = 1.0,
    tenant_class: TenantClass = "interactive",
) -> str:
    """Add a tenant and return its new key, or the given `key`. Makes the file if needed, but not
    its folder. Raises KeyFileError."""
    with _changing(path, make=True) as file:
        if any(tenant.name == name for tenant in file.tenants):
            raise KeyFileError(f"tenant {name!r} exists: rotate its key, or revoke it first")
        key, stored = _new_key(key)
        _refuse_duplicate(file, stored)
        try:
            tenant = Tenant(
                name=name,
                requests_per_second=requests_per_second,
                cache_bytes=cache_bytes,
                weight=weight,
                tenant_class=tenant_class,
                keys=[stored],
            )
        except PydanticError:
            raise KeyFileError(INVALID) from None
        file.tenants.append(tenant)
    return key


def change(
    path: Path,
    name: str,
    *,
    requests_per_second: float | None = None,
    cache_bytes: int | None = None,
    weight: float | None = None,
    tenant_class: TenantClass | None = None,
) -> None:
    """Change the given fields of a tenant; its keys stay. Raises KeyFileError."""
    given = {
        "requests_per_second": requests_per_second,
        "cache_bytes": cache_bytes,
        "weight": weight,
        "tenant_class": tenant_class,
    }
    with _changing(path) as file:
        tenant = file.tenant(name)
        old = {field: getattr(tenant, field) for field in Tenant.model_fields}
        fields = old | {field: value for field, value in given.items() if value is not None}
        try:
            file.tenants[file.tenants.index(tenant)] = Tenant(**fields)
        except PydanticError:
            raise KeyFileError(INVALID) from None


def rotate(path: Path, name: str, *, grace: timedelta = timedelta(0), key: str | None = None) -> str:
    """Give a tenant a new key and return it; the old keys expire after `grace`. Raises KeyFileError."""
    now = _now()
    with _changing(path) as file:
        tenant = file.tenant(name)
        key, stored = _new_key(key)
        _refuse_duplicate(file, stored)
        kept = [old for old in tenant.keys if old.valid_at(now)] if grace > timedelta(0) else []
        for old in kept:
            old.expires = min(old.expires or now + grace, now + grace)
        tenant.keys = [*kept, stored]
    return key


def revoke(path: Path, name: str) -> None:
    """Remove a tenant with all of its keys. Raises KeyFileError."""
    with _changing(path) as file:
        file.tenants.remove(file.tenant(name))


def _new_key(key: str | None) -> tuple[str, StoredKey]:
    key = KEY_PREFIX + secrets.token_urlsafe(32) if key is None else key.strip()
    if len(key) < MIN_KEY_CHARACTERS:
        raise KeyFileError(f"a key needs at least {MIN_KEY_CHARACTERS} characters")
    return key, StoredKey(id=secrets.token_hex(4), sha256=hash_key(key), created=_now())


def _refuse_duplicate(file: KeyFile, stored: StoredKey) -> None:
    if any(key.sha256 == stored.sha256 for tenant in file.tenants for key in tenant.keys):
        raise KeyFileError("this key is in use already")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@contextmanager
def _changing(path: Path, *, make: bool = False) -> Iterator[KeyFile]:
    """The file's content, which is written back at the end of the block unless the block raises."""
    path = path.resolve()
    if make:
        # A folder that was made for a mistyped path would hide that the server reads another file.
        if not path.parent.is_dir():
            raise KeyFileError(
                f"there is no folder {path.parent}: make it, or correct the path of the key file"
            )
    elif not path.exists():
        raise KeyFileError(f"there is no key file at {path}")
    with _locked(path):
        file = load(path) if path.exists() else KeyFile()
        yield file
        _replace(path, file)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise KeyFileError(f"cannot write beside {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, file: KeyFile) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(file.model_dump_json(indent=1) + "\n")
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
