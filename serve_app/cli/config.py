"""`sam3-serve config`: shows every setting, its value and the value's source."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass

import click
from pydantic import ByteSize, SecretStr

from serve_app.profiles import PROFILES
from serve_app.settings import GROUPS, Settings, environment_name, set_in_environment

HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as it is shown."""

    group: str
    name: str
    value: str
    source: str


def rows(settings: Settings, options: Collection[str]) -> list[Row]:
    """All settings in order. options: names that were given on the command line."""
    found = []
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        group = str(extra["group"]) if isinstance(extra, dict) else ""
        if name in options:
            source = "--" + name.replace("_", "-")
        elif set_in_environment(name):
            source = environment_name(name)
        elif name in PROFILES.get(settings.profile, {}):
            source = f"profile {settings.profile}"
        else:
            source = "default"
        found.append(Row(group, name, shown(getattr(settings, name)), source))
    return found


def shown(value: object) -> str:
    """A value in the form of an environment variable; secrets are hidden."""
    match value:
        case None | () | "":
            return ""
        case SecretStr():
            return HIDDEN if value.get_secret_value() else ""
        case bool():
            return str(value).lower()
        case ByteSize():
            return value.human_readable(separator="").replace(".0", "")
        case dict():
            return ",".join(value)
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


def show(settings: Settings, options: Collection[str], as_json: bool) -> None:
    """Print all settings by group."""
    table = rows(settings, options)
    if as_json:
        listed = [
            {"variable": environment_name(row.name), "value": row.value, "source": row.source}
            for row in table
        ]
        click.echo(json.dumps(listed, indent=2))
        return
    width = max(len(environment_name(row.name)) for row in table)
    wide = max(len(row.value) for row in table)
    for group in GROUPS:
        click.echo(click.style(group, bold=True))
        for row in table:
            if row.group == group:
                source = "" if row.source == "default" else f"  ({row.source})"
                click.echo(f"  {environment_name(row.name):{width}}  {row.value:{wide}}{source}".rstrip())
    token = f"set {HIDDEN}" if os.environ.get("HF_TOKEN") else "not set"
    click.echo(f"\nHF_TOKEN, for the weights of `sam3`, is {token}.")
