"""Write the table in docs/settings.md from `serve_app.settings.Settings`; with --check only compare."""

import sys
from pathlib import Path

from pydantic import ByteSize
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from serve_app.settings import GROUPS, Settings, environment_name

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
BEGIN = "<!-- settings: written by scripts/settings_table.py -->"
END = "<!-- /settings -->"


def show_default(field: FieldInfo) -> str:
    """The default in the form of an environment variable."""
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value in ((), {}, ""):
        return ""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, ByteSize):
        text = value.human_readable(separator="").replace(".0", "")
    elif isinstance(value, (tuple, list)):
        text = ",".join(map(str, value))
    else:
        text = str(value)
    return f"`{text}`"


def table(settings: type[Settings] = Settings) -> str:
    """Markdown: a table for each group of fields, in the class's order."""
    lines = [BEGIN]
    for group in GROUPS:
        lines += ["", f"**{group}**", "", "| Variable | Default | Meaning |", "|---|---|---|"]
        for name, field in settings.model_fields.items():
            extra = field.json_schema_extra
            if not isinstance(extra, dict) or extra.get("group") != group:
                continue
            meaning = " ".join((field.description or "").split()).replace("|", "\\|")
            lines.append(f"| `{environment_name(name)}` | {show_default(field)} | {meaning} |")
    return "\n".join([*lines, "", END])


def with_table(text: str) -> str:
    """`text` with a new table between the markers. Raises ValueError without both markers."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return head + table() + tail


def main() -> int:
    old = DOCUMENT.read_text(encoding="utf-8")
    new = with_table(old)
    if old == new:
        return 0
    if "--check" in sys.argv[1:]:
        print("docs/settings.md is out of date: run python -m scripts.settings_table", file=sys.stderr)
        return 1
    DOCUMENT.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
