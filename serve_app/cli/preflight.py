"""The checks of `sam3-serve up` before it starts anything."""

from typing import Any

import click

from sam3_engine.checkpoint_files.first_look import first_look
from sam3_engine.errors import CheckpointError
from sam3_engine.hub import DEFAULT, resolve_checkpoint
from serve_app.cli.addresses import in_use, is_loopback
from serve_app.http.tenants import keyfile
from serve_app.model_file import ModelEntry
from serve_app.models import ContradictorySettings, Registry
from serve_app.settings import Settings


def refuse_unwise(settings: Settings) -> None:
    """Raises click.ClickException for an address in use, a public address without API keys, and a broken key file."""
    keys = settings.api_keys_file
    if keys and keys.exists():
        try:
            keyfile.load(keys)
        except keyfile.KeyFileError as error:
            raise click.ClickException(f"SAM3_API_KEYS_FILE: {error}") from None
    elif keys:  # it may come later, but a mistyped name never does
        click.echo(f"note: every request is refused until `sam3-serve keys add` makes {keys}", err=True)
    if not (is_loopback(settings.host) or settings.api_keys_file or settings.allow_open):
        raise click.ClickException(
            f"{settings.host} can be reached from other machines, and no API keys are configured. "
            "Name a file of keys with SAM3_API_KEYS_FILE, or pass --allow-open to serve everybody."
        )
    try:
        taken = in_use(settings.host, settings.port)
    except (OSError, UnicodeError) as error:
        raise click.ClickException(f"cannot listen on {settings.host}:{settings.port}: {error}") from error
    if taken:
        raise click.ClickException(
            f"something already listens on {settings.host}:{settings.port}, perhaps another sam3-serve. "
            "Stop it, or choose another port with --port."
        )


def served_weights(settings: Settings) -> dict[str, Any]:
    """Settings that replace those of the weights, as `weights` has them, of each model that is served. Raises
    click.ClickException."""
    try:
        alone = Registry.of(settings).alone
    except ContradictorySettings as error:
        raise click.ClickException(str(error)) from None
    if not settings.models:
        return weights(settings)
    models = {name: _on_this_machine(name, entry) for name, entry in settings.models.items()}
    # The weights of the model that keeps its deployments' names: fetched above.
    return {"models": models, **(weights(settings) if alone else {})}


def _on_this_machine(name: str, entry: ModelEntry) -> ModelEntry:
    own = entry.checkpoint or (DEFAULT if entry.architecture == "sam3" else None)
    try:
        found = [path and str(resolve_checkpoint(path).absolute()) for path in (own, entry.base)]
    except CheckpointError as error:
        raise click.ClickException(f"SAM3_MODELS: model {name!r}: {error}") from error
    return entry.model_copy(update=dict(zip(("checkpoint", "base"), found, strict=True)))


def weights(settings: Settings) -> dict[str, str]:
    """Settings that replace `checkpoint` and `base_checkpoint`: paths on this machine, fetched now if needed, with a
    progress bar. None of them for bundled weights.

    Raises click.ClickException, also for a file whose first bytes tell that it is no checkpoint, or not all of one.
    """
    named = {"checkpoint": settings.checkpoint, "base_checkpoint": settings.base_checkpoint}
    if settings.model == "sam3" and settings.checkpoint is None:
        named["checkpoint"] = DEFAULT
    try:
        found = {
            name: resolve_checkpoint(value).absolute() for name, value in named.items() if value is not None
        }
        for path in found.values():
            first_look(path)  # a replica would tell of a broken file only once all of Ray has started
        return {name: str(path) for name, path in found.items()}
    except CheckpointError as error:
        raise click.ClickException(str(error)) from error
