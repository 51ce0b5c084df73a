"""Write the table of metrics in docs/monitoring.md: `python -m scripts.metrics_table`."""

from pathlib import Path

from deployments.observe.exposition import OURS

DOCUMENT = Path(__file__).parents[1] / "docs" / "monitoring.md"
BEGIN, END = "<!-- metrics: written by scripts/metrics_table.py -->\n", "<!-- /metrics -->"


def written(document: str) -> str:
    """The document with the current table."""
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    rows = [
        f"| `{metric.name}` | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.description} |\n"
        for metric in OURS.values()
    ]
    table = ["\n| Name | Labels | Meaning |\n|---|---|---|\n", *rows, "\n"]
    return f"{head}{BEGIN}{''.join(table)}{END}{tail}"


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
