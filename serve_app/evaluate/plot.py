"""A comparison as a picture: bars of each class and model, a panel a figure. SVG, alone or in a page of HTML."""

from collections.abc import Iterator
from html import escape
from math import isnan

from sam3_engine.draw import PALETTE
from serve_app.evaluate.comparison import Comparison
from serve_app.evaluate.figures import NAMES, Figures
from serve_app.evaluate.table import ALL, number

ENDINGS = (".svg", ".html")
BAR, GAP, PANEL, BETWEEN, MARGIN = 12, 10, 180, 56, 16
"""Pixels: height of a bar, between classes, width of a panel, between panels, and around all."""
CHARACTER = 7.2
LONGEST_NAME = 32
TICKS = (0.0, 0.5, 1.0)
STYLE = """
svg { font: 12px system-ui, sans-serif; background: #fff; color: #1a1a1a; }
text { fill: #1a1a1a; } .value, .tick { font-size: 10px; fill: #555; } .head { font-weight: 600; }
.grid { stroke: #ddd; } .none { fill: #999; }
"""


def document(found: Comparison, ending: str) -> str:
    """The picture as the text of a file. ending: one of ENDINGS."""
    picture = "\n".join(_svg(found))
    if ending == ".svg":
        return picture
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Models compared</title></head>\n'
        f'<body style="margin:16px">{picture}</body></html>\n'
    )


def _svg(found: Comparison) -> Iterator[str]:
    names = [one.name for one in found.classes]
    rows = [(ALL, [one.overall for one in found.results])]
    rows += [(name, [one.classes[name] for one in found.results]) for name in names]
    left = MARGIN + CHARACTER * min(LONGEST_NAME, max(len(name) for name, _ in rows)) + GAP
    legend = MARGIN + 20 * len(found.results)
    top, step = legend + 44, BAR * len(found.results) + GAP
    width = left + len(NAMES) * (PANEL + BETWEEN) + MARGIN
    height = top + step * len(rows) + MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}"><title>Models compared on {len(found.truths)} images</title>'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
    )
    for place, result in enumerate(found.results):
        y = MARGIN + 20 * place
        yield f'<rect x="{MARGIN}" y="{y}" width="12" height="12" fill="{_colour(place)}"/>'
        yield f'<text x="{MARGIN + 20}" y="{y + 10}">{escape(result.label)}</text>'
    for line, (name, _) in enumerate(rows):
        shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
        middle = top + step * line + (step - GAP) / 2 + 4
        kind = ' class="head"' if line == 0 else ""
        yield f'<text{kind} x="{left - GAP:.0f}" y="{middle:.0f}" text-anchor="end">{escape(shown)}</text>'
    for panel, (attribute, title) in enumerate(NAMES.items()):
        x = left + panel * (PANEL + BETWEEN)
        yield from _panel(rows, attribute, title, x, top, step, height - MARGIN)
    yield "</svg>"


def _panel(
    rows: list[tuple[str, list[Figures]]],
    attribute: str,
    title: str,
    x: float,
    top: float,
    step: float,
    bottom: float,
) -> Iterator[str]:
    yield f'<text class="head" x="{x:.1f}" y="{top - 26:.0f}">{title}</text>'
    for tick in TICKS:
        place = x + PANEL * tick
        yield f'<line class="grid" x1="{place:.1f}" x2="{place:.1f}" y1="{top - 6:.0f}" y2="{bottom:.0f}"/>'
        yield f'<text class="tick" x="{place:.1f}" y="{top - 10:.0f}" text-anchor="middle">{tick:g}</text>'
    for line, (name, figures) in enumerate(rows):
        for place, figure in enumerate(figures):
            value = getattr(figure, attribute)
            y = top + step * line + BAR * place
            length = 0.0 if isnan(value) else PANEL * max(0.0, value)
            told = f"{escape(name)}, {title} {number(value)}"
            yield (
                f'<rect x="{x:.1f}" y="{y + 1:.0f}" width="{length:.1f}" height="{BAR - 2}" fill="{_colour(place)}">'
                f"<title>{told}</title></rect>"
            )
            kind = "value none" if isnan(value) else "value"
            yield f'<text class="{kind}" x="{x + length + 4:.1f}" y="{y + 10:.0f}">{number(value)}</text>'


def _colour(place: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*PALETTE[place % len(PALETTE)])
