"""`sam3-serve keys`: manages the tenants and API keys of the server."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import ByteSize, TypeAdapter, ValidationError

from serve_app.cli.options import Number, together
from serve_app.http.tenants import keyfile

FileOption = click.option(
    "--file",
    "path",
    envvar="SAM3_API_KEYS_FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The key file. Default: SAM3_API_KEYS_FILE, which the server reads too.",
)
StdinOption = click.option(
    "--stdin",
    "from_stdin",
    is_flag=True,
    help="Read the key from standard input instead of making one, for clients that have theirs already.",
)


class Size(click.ParamType[int]):
    """Bytes: a number, or one with a unit."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes. Called by click."""
        try:
            return int(TypeAdapter(ByteSize).validate_python(value))
        except ValidationError:
            self.fail(f"{value!r} is not a size such as 500MB or 2GiB", param, ctx)


@click.group()
def keys() -> None:
    """Add, change, rotate, revoke and list tenants and their API keys. A running server notices within a second."""


_limits = together(
    click.option(
        "--rate",
        "requests_per_second",
        type=Number(0, min_open=True),
        help="Requests per second that each ingress replica takes from this tenant.",
    ),
    click.option(
        "--cache",
        "cache_bytes",
        type=Size(),
        help="Most bytes that the server keeps of this tenant's embeddings, such as 2GiB, and as many again of its "
        "image files. Without it, only the limits for all tenants together apply.",
    ),
    click.option(
        "--weight",
        type=Number(0, keyfile.MAX_WEIGHT, min_open=True),
        help="Its share of the server beside other busy tenants of its class: twice the weight, twice the work.",
    ),
    click.option(
        "--class",
        "tenant_class",
        type=click.Choice(get_args(keyfile.TenantClass)),
        help="batch: it comes after interactive tenants, and waits longer before it is refused.",
    ),
)
"""The options of a tenant's limits and shares."""


@keys.command()
@click.argument("name")
@_limits
@StdinOption
@FileOption
def add(name: str, from_stdin: bool, path: Path, **limits: Any) -> None:
    """Add the tenant NAME and print its key, this once. Without options its weight is 1 and its class interactive."""
    given = {option: value for option, value in limits.items() if value is not None}
    with _reported():
        key = keyfile.add(path, name, key=_given(from_stdin), **given)
    _show(key, from_stdin)


@keys.command()
@click.argument("name")
@_limits
@FileOption
def change(name: str, path: Path, **limits: Any) -> None:
    """Change limits and share of the tenant NAME. Its keys stay, and so does what no option names."""
    with _reported():
        keyfile.change(path, name, **limits)
    click.echo(f"changed {name}", err=True)


@keys.command()
@click.argument("name")
@click.option(
    "--grace-hours", type=Number(0, 24 * 3660), default=0.0, help="Hours for which the old key stays valid."
)
@StdinOption
@FileOption
def rotate(name: str, grace_hours: float, from_stdin: bool, path: Path) -> None:
    """Give the tenant NAME a new key and print it, this once."""
    with _reported():
        key = keyfile.rotate(path, name, grace=timedelta(hours=grace_hours), key=_given(from_stdin))
    _show(key, from_stdin)


@keys.command()
@click.argument("name")
@FileOption
def revoke(name: str, path: Path) -> None:
    """Remove the tenant NAME: none of its keys is accepted any more."""
    with _reported():
        keyfile.revoke(path, name)
    click.echo(f"revoked {name}", err=True)


@keys.command("list")
@FileOption
def list_tenants(path: Path) -> None:
    """List tenants and the ids of their keys. The keys themselves are stored nowhere."""
    with _reported():
        file = keyfile.load(path)
    for tenant in file.tenants:
        rate = f", {tenant.requests_per_second:g} requests/s" if tenant.requests_per_second else ""
        cache = (
            ""
            if tenant.cache_bytes is None
            else f", {ByteSize(tenant.cache_bytes).human_readable()} of cache"
        )
        weight = f", weight {tenant.weight:g}" if tenant.weight != 1 else ""
        batch = ", batch" if tenant.tenant_class == "batch" else ""
        click.echo(f"{tenant.name}{rate}{cache}{weight}{batch}")
        for key in tenant.keys:
            until = f", until {key.expires:%Y-%m-%d %H:%M} UTC" if key.expires else ""
            click.echo(f"  {key.id}  since {key.created:%Y-%m-%d %H:%M} UTC{until}")


@contextmanager
def _reported() -> Iterator[None]:
    """Turn errors of the key file into a message and exit status 1."""
    try:
        yield
    except (keyfile.KeyFileError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _given(from_stdin: bool) -> str | None:
    if not from_stdin:
        return None
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise keyfile.KeyFileError("standard input is not text: expected a key") from None


def _show(key: str, from_stdin: bool) -> None:
    if from_stdin:
        click.echo("the key is accepted", err=True)
        return
    # Only the key is written to standard output, so that it can be piped.
    click.echo("Keep this key: it is not stored and cannot be shown again.", err=True)
    click.echo(key)
