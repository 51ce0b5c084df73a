"""Finds a checkpoint: at a path on this machine, on the Hugging Face Hub, or at a URL. Needs no torch.

The Hub client's settings apply: HF_TOKEN, HF_HOME (where downloads are kept), HF_ENDPOINT, HF_HUB_OFFLINE. A
download is made once per machine: the client shows a progress bar, checks the size, and continues where an earlier
download was interrupted.
"""

import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from sam3_engine.checkpoint_files.folders import PREFERRED, beside, checkpoint_in, sha256_of, shards, why_none
from sam3_engine.errors import CheckpointError, GatedAccess, Offline
from sam3_engine.remote import fetch, is_url

REPOSITORY = "facebook/sam3"
FILE_NAME = "sam3.pt"
SCHEME = "hf://"
DEFAULT = f"{SCHEME}{REPOSITORY}/{FILE_NAME}"
SHA256 = re.compile(r"[0-9a-f]{64}")
REFERENCE = re.compile(
    r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[^/\s]+))?(/(?P<file>[^\s]+?))?/?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A checkpoint on the Hub: `hf://owner/name[@revision][/file]`. Without a file, the usual names are tried."""

    repository: str = REPOSITORY
    file: str | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Raises CheckpointError for text of another form. A slash in a revision is written %2F."""
        found = REFERENCE.fullmatch(text)
        if found is None or ".." in (found["file"] or "").split("/"):
            raise CheckpointError(
                f"{text} is no checkpoint on the Hub: write hf://owner/name[@revision][/file]"
            )
        revision = found["revision"].replace("%2F", "/") if found["revision"] else None
        return cls(found["repository"], found["file"], revision)


def resolve_checkpoint(checkpoint: str | PathLike[str] | None = None) -> Path:
    """The path of a checkpoint on this machine, fetched if it is elsewhere.

    checkpoint: a file, or a directory that holds one (see `folders.PREFERRED`); `hf://owner/name[@revision][/file]` on
    the Hub; a URL of https, s3, gs or another file system of fsspec. None means `sam3.pt` of facebook/sam3.
    Raises CheckpointError for a checkpoint that does not exist, GatedAccess when the Hub refuses, Offline when the Hub
    or the URL's server cannot be reached.
    """
    if checkpoint is None:
        return download()
    text = str(checkpoint)
    if text.startswith("hf:/"):
        return from_hub(Reference.parse(text))
    return from_path(fetch(text)) if is_url(text) else from_path(Path(checkpoint).expanduser())


def from_path(path: Path) -> Path:
    """The checkpoint at a path: the file itself, or the one in the directory. Raises CheckpointError."""
    if path.is_dir():
        try:
            names = [one.name for one in path.iterdir() if one.is_file()]
        except OSError as error:
            raise CheckpointError(f"the directory {path} cannot be read: {error}") from error
        name = checkpoint_in(names)
        if name is None:
            raise CheckpointError(f"no checkpoint in the directory {path}: {why_none(names)}")
        return path / name
    if path.is_file():
        return path
    raise CheckpointError(
        f"no checkpoint at {path}: give the path of {FILE_NAME} or of the directory that holds it, "
        f"{SCHEME}owner/name, a URL, or nothing at all to take {REPOSITORY} from the Hugging Face Hub"
    )


def from_hub(reference: Reference) -> Path:
    """Take a checkpoint, and the files that belong to it, from the Hub's cache on this machine, or else from the Hub.

    Raises CheckpointError, GatedAccess and Offline.
    """
    name, path = _first(reference)
    folder = name[: name.rfind("/") + 1]
    for other in [*beside(name), *(folder + shard for shard in shards(path))]:
        try:
            download(reference.repository, other, reference.revision)
        except CheckpointError:
            if other != f"{folder}config.json":  # which only says what the names show too
                raise
    return path


def _first(reference: Reference) -> tuple[str, Path]:
    """The first of the names that the Hub has, or, where it cannot be reached, that its cache here has."""
    repository, revision = reference.repository, reference.revision
    if reference.file:
        return reference.file, download(repository, reference.file, revision)
    for name in PREFERRED:
        try:
            return name, download(repository, name, revision)
        except NotOnTheHub:
            continue
        except Offline:
            kept = [one for one in PREFERRED if _kept(repository, one, revision)]
            if not kept:
                raise
            return kept[0], download(repository, kept[0], revision)
    raise CheckpointError(
        f"{repository} on the Hub has none of {', '.join(PREFERRED)}: name its file, {SCHEME}{repository}/FILE"
    )


def _kept(repository: str, file_name: str, revision: str | None) -> bool:
    """True if the Hub's cache on this machine has the file."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, file_name, revision=revision), str)


class NotOnTheHub(CheckpointError):
    """The Hub was reached and has no such repository, revision or file."""


def download(repository: str = REPOSITORY, file_name: str = FILE_NAME, revision: str | None = None) -> Path:
    """Take a file from the Hub's cache on this machine, or else from the Hub.

    A downloaded file is checked by size and, where the Hub tells it (for all large files), by SHA-256. Raises
    CheckpointError, GatedAccess and Offline.
    """
    import httpx
    from huggingface_hub import constants, errors, get_token, hf_hub_download

    hub = constants.ENDPOINT
    kept = _kept(repository, file_name, revision)
    wanted = f"{file_name} of {repository}" + (f" at {revision}" if revision else "")
    try:
        path = hf_hub_download(repository, file_name, revision=revision)
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError) as error:
        # When the Hub refuses, the client looks into its cache, and its error then mentions only the cache.
        refusal = error if isinstance(error, errors.HfHubHTTPError) else error.__cause__
        status = refusal.response.status_code if isinstance(refusal, errors.HfHubHTTPError) else None
        if status in (401, 403):
            raise GatedAccess(_how_to_get_access(hub, repository, bool(get_token()))) from error
        if status == 404:
            raise NotOnTheHub(f"{hub} has no {wanted}") from error
        reason = "offline mode is set (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else str(refusal or error)
        raise Offline(_how_to_work_offline(hub, wanted, reason)) from error
    except (httpx.TransportError, errors.OfflineModeIsEnabled) as error:
        raise Offline(_how_to_work_offline(hub, wanted, str(error) or type(error).__name__)) from error
    except errors.HFValidationError as error:
        raise CheckpointError(f"{repository} is no name of a repository: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{wanted} was not stored: {error}") from error
    if not kept:
        _check_digest(Path(path), wanted)
    return Path(path)


def _check_digest(path: Path, wanted: str) -> None:
    """Raises CheckpointError, and forgets the file, where its bytes are not those that the Hub names."""
    blob = path.resolve()  # the cache names large files by their SHA-256
    if SHA256.fullmatch(blob.name) is None:
        return
    if (found := sha256_of(blob)) != blob.name:
        path.unlink()
        blob.unlink(missing_ok=True)
        raise CheckpointError(
            f"{wanted} arrived damaged: its SHA-256 is {found}, not {blob.name}. It was removed: try again."
        )


def _how_to_get_access(hub: str, repository: str, has_token: bool) -> str:
    told = "the token that was sent has no access" if has_token else "no token was sent"
    return (
        f"{repository} is gated, and {told}. Accept its license at {hub}/{repository}, make a token that may "
        f"read gated repositories at {hub}/settings/tokens, and set it as HF_TOKEN (or run `hf auth login`)."
    )


def _how_to_work_offline(hub: str, wanted: str, reason: str) -> str:
    return (
        f"{wanted} is not on this machine and could not be downloaded from {hub}: {reason}. "
        "Check the network (or HF_ENDPOINT) and try again: a download goes on where it stopped. "
        "Or copy the file here and give its path as the checkpoint."
    )
