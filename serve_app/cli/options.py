"""The kinds of option that several commands have: finite numbers, places, and the address of a server."""

import math
import os
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator for all of these options, in their order in the help."""

    def decorate(command: Command) -> Command:
        return reduce(lambda made, option: option(made), reversed(options), command)

    return decorate


class Number(click.FloatRange):
    """A finite number in a range: infinity and NaN pass every comparison that click makes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises click.BadParameter for anything else."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def at_home(text: str) -> str:
    """The text with a `~` at its beginning as the home folder: a shell leaves it in quotes and behind `=`. The `~` of a
    user who is not there is a name as any other."""
    return os.path.expanduser(text)  # noqa: PTH111 - that raises for such a user


class Folder(click.Path):
    """A folder, which may be made later."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises click.BadParameter for an empty text, which would be the folder where the command runs, and for what
        is a file."""
        if not str(value):
            self.fail("it is empty: name a folder, such as dataset.", param, ctx)
        return super().convert(at_home(str(value)), param, ctx)


class ServerAddress(click.ParamType[str]):
    """The base URL of a server, without a slash at its end."""

    name = "url"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises click.BadParameter for anything but http(s)://HOST[:PORT][/PATH]."""
        text = str(value)
        if problem := _problem(text):
            self.fail(f"{text!r} {problem}: expected an address such as http://127.0.0.1:9001", param, ctx)
        return text.rstrip("/")


def _problem(text: str) -> str:
    """The reason why a text is not the address of a server; empty where it is one."""
    if not text.isascii() or not text.isprintable() or " " in text:
        return "holds a character that no URL has"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        return f"is not a URL ({error})"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "is not the address of a server"
    if parts.username is not None or parts.query or parts.fragment:
        return "holds more than host, port and path"
    return ""


URL = ServerAddress()
