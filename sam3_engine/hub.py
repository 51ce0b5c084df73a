"""Finds the official weights: at a path on this machine, or else on the Hugging Face Hub. Needs no torch.

The Hub client's settings apply: HF_TOKEN, HF_HOME (where downloads are kept), HF_ENDPOINT, HF_HUB_OFFLINE. A
download is made once per machine: the client shows a progress bar, checks the size, and continues where an earlier
download was interrupted.
"""

from os import PathLike
from pathlib import Path

from sam3_engine.errors import CheckpointError, GatedAccess, Offline

REPOSITORY = "facebook/sam3"
FILE_NAME = "sam3.pt"


def resolve_checkpoint(
    checkpoint: str | PathLike[str] | None = None,
    *,
    token: str | None = None,
    endpoint: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
) -> Path:
    """The path of the official checkpoint on this machine.

    checkpoint: a file, or a directory that holds `sam3.pt`; None takes it from the Hub or the Hub's local cache.
    token, endpoint, cache_dir: replace the Hub client's settings. Raises CheckpointError for a path that does not
    exist, GatedAccess when the Hub refuses, Offline when the Hub cannot be reached.
    """
    if checkpoint is None:
        return download(token=token, endpoint=endpoint, cache_dir=cache_dir)
    path = Path(checkpoint).expanduser()
    if path.is_dir():
        if (path / FILE_NAME).is_file():
            return path / FILE_NAME
        raise CheckpointError(f"no {FILE_NAME} in the directory {path}")
    if path.is_file():
        return path
    raise CheckpointError(
        f"no checkpoint at {path}: give the path of {FILE_NAME} or of the directory that holds it, "
        "or no path at all to take it from the Hugging Face Hub"
    )


def download(
    repository: str = REPOSITORY,
    file_name: str = FILE_NAME,
    *,
    token: str | None = None,
    endpoint: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
) -> Path:
    """Take a file from the Hub's cache on this machine, or else from the Hub. Raises CheckpointError,
    GatedAccess and Offline."""
    import httpx
    from huggingface_hub import constants, errors, get_token, hf_hub_download

    hub = endpoint or constants.ENDPOINT
    wanted = f"{file_name} of {repository}"
    try:
        path = hf_hub_download(
            repository,
            file_name,
            token=token,
            endpoint=endpoint,
            cache_dir=None if cache_dir is None else Path(cache_dir),
        )
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError) as error:
        # When the Hub refuses, the client looks into its cache, and its error then mentions only the cache.
        refusal = error if isinstance(error, errors.HfHubHTTPError) else error.__cause__
        status = refusal.response.status_code if isinstance(refusal, errors.HfHubHTTPError) else None
        if status in (401, 403):
            raise GatedAccess(_how_to_get_access(hub, repository, bool(token or get_token()))) from error
        if status == 404:
            raise CheckpointError(f"{hub} has no {wanted}") from error
        reason = "offline mode is set (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else str(refusal or error)
        raise Offline(_how_to_work_offline(hub, wanted, reason)) from error
    except (httpx.TransportError, errors.OfflineModeIsEnabled) as error:
        raise Offline(_how_to_work_offline(hub, wanted, str(error) or type(error).__name__)) from error
    except OSError as error:
        raise CheckpointError(f"{wanted} was not stored: {error}") from error
    return Path(path)


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
