"""Fetches a checkpoint from a URL, by fsspec: https, s3, gs and whatever else is installed. Needs no torch.

A fetched file is kept below `~/.cache/sam3-serve/weights` (XDG_CACHE_HOME), in a folder that the URL and the server's
version of the file (its ETag, checksum or time) decide: another version is another file. A fetch goes on where an
earlier one was interrupted, and is checked by size and, where the URL ends in `#sha256=...`, by digest.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from filelock import FileLock

from sam3_engine.checkpoint_files.folders import beside, checkpoint_in, sha256_of, shards, why_none
from sam3_engine.errors import CheckpointError, Offline

URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
DIGEST = re.compile(r"#sha256=([0-9a-fA-F]{64})$")
CHUNK = 32 * 2**20
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
"""Packages that know a scheme. They are not installed with this project: see docs/weights.md."""


def is_url(text: str) -> bool:
    """Tell a URL from a path: a URL begins with a scheme and `://`."""
    return bool(URL.match(text))


def fetch(url: str, cache_dir: Path | None = None) -> Path:
    """The path of a URL's file on this machine. Files of a folder that belong to one checkpoint come with it.

    url: of a file, or of a folder that holds one, such as `s3://bucket/weights/`. Raises CheckpointError, and Offline
    where the server cannot be reached.
    """
    import fsspec

    plain = DIGEST.sub("", url)
    digest = DIGEST.search(url)
    shown = re.sub(r"\?.*", "?...", re.sub(r"//[^/@]*@", "//", plain))
    try:
        files, path = fsspec.url_to_fs(plain)
        if "file" in files.protocol:
            return Path(path)
        folder = cache_dir or default_cache()
        return _fetch(files, path, shown, digest[1].lower() if digest else None, folder)
    except CheckpointError:
        raise
    except ImportError as error:
        package = PACKAGES.get(plain.partition("://")[0].lower())
        how = f"pip install {package}" if package else str(error)
        raise CheckpointError(f"{shown} needs a package that is not installed: {how}") from error
    except ValueError as error:  # a scheme that nobody knows
        raise CheckpointError(f"{shown}: {error}") from error
    except Exception as error:  # each file system has errors of its own
        raise _explained(error, shown) from error


def _explained(error: Exception, shown: str) -> CheckpointError:
    """The error for the caller: no access, an absent file, or `Offline`.

    Some file systems call it an absent file when a server does not answer, so causes count too.
    """
    causes: list[BaseException] = [error]
    while (deeper := causes[-1].__cause__ or causes[-1].__context__) is not None and deeper not in causes:
        causes.append(deeper)
    given = (getattr(one, "status", None) for one in causes)
    status = next((one for one in given if isinstance(one, int)), None)
    if status in (401, 403) or any(isinstance(one, PermissionError) for one in causes):
        return CheckpointError(f"{shown} may not be read: {status or error}")
    absent = isinstance(error, FileNotFoundError | IsADirectoryError)
    if absent and not any(isinstance(one, OSError) and not isinstance(one, type(error)) for one in causes):
        return CheckpointError(f"no checkpoint at {shown}")
    said = next((str(one) for one in reversed(causes) if str(one)), type(error).__name__)
    return Offline(f"{shown} could not be fetched: {said}. Try again: a download goes on where it stopped.")


def default_cache() -> Path:
    """The folder of fetched files: `sam3-serve/weights` in `$XDG_CACHE_HOME`, else in `~/.cache`."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    return (Path(chosen) if chosen else Path("~/.cache").expanduser()) / "sam3-serve" / "weights"


def _fetch(files: Any, path: str, shown: str, digest: str | None, cache: Path) -> Path:
    info = files.info(path)
    if info["type"] != "directory":
        return _one(files, path, info, shown, digest, cache)
    names = {one["name"].rstrip("/").rpartition("/")[2]: one for one in files.ls(path, detail=True)}
    chosen = checkpoint_in(names)
    if chosen is None:
        raise CheckpointError(f"no checkpoint in {shown}: {why_none(names)}")
    read = [name for name in sorted(names) if name == chosen or name.endswith((".json", ".safetensors"))]
    own = cache / _key(path, *(f"{name} {_version(names[name])}" for name in read))

    def get(name: str) -> Path:
        if name not in names:
            raise CheckpointError(f"{shown} has no {name}, which {chosen} needs")
        return _download(files, names[name]["name"], names[name].get("size"), own / name, None, shown)

    found = get(chosen)
    for name in [*(one for one in beside(chosen) if one in names), *shards(found)]:
        get(name)
    return found


def _one(files: Any, path: str, info: dict[str, Any], shown: str, digest: str | None, cache: Path) -> Path:
    name = re.sub(r"[^\w.-]", "_", path.split("?")[0].rstrip("/").rpartition("/")[2]) or "checkpoint"
    target = cache / _key(path, str(_version(info))) / name
    return _download(files, path, info.get("size"), target, digest, shown)


def _version(info: dict[str, Any]) -> object:
    for key in ("ETag", "etag", "md5Hash", "checksum", "mtime", "LastModified", "updated"):
        if info.get(key):
            return info[key]
    return info.get("size")


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _download(files: Any, path: str, size: int | None, target: Path, digest: str | None, shown: str) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(target.name + ".lock")):  # replicas of one machine start together
        if not target.exists():
            unfinished = target.with_name(target.name + ".unfinished")
            _continue(files, path, size, unfinished)
            have = unfinished.stat().st_size
            if size is not None and have != size:
                if have > size:
                    unfinished.unlink()
                raise Offline(
                    f"{shown} ended after {have:,} of {size:,} bytes. Try again: it goes on where it stopped."
                )
            _check_digest(unfinished, digest, shown)
            unfinished.replace(target)
        else:
            _check_digest(target, digest, shown)
    return target


def _check_digest(path: Path, digest: str | None, shown: str) -> None:
    """Raises CheckpointError, and removes the file, where it has another digest than the URL names."""
    if digest is None:
        return
    if (found := sha256_of(path)) != digest:
        path.unlink()
        raise CheckpointError(f"{shown} has the SHA-256 {found}, not {digest}")


def _continue(files: Any, path: str, size: int | None, unfinished: Path) -> None:
    have = unfinished.stat().st_size if unfinished.exists() else 0
    with files.open(path, "rb", cache_type="none") as source:
        if have and size is not None and source.seekable():
            source.seek(have)
        else:
            have = 0
        with unfinished.open("ab" if have else "wb") as file:
            while chunk := source.read(CHUNK):
                file.write(chunk)
