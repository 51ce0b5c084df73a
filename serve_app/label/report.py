"""report.html: a data set to look at, in one file that needs no other."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_engine.draw import FILL, PALETTE, Colour
from sam3_engine.errors import EngineError
from sam3_engine.images import open_upright
from serve_app.label.catalogue import Catalogue, LabelledImage
from serve_app.label.figures import ALIKE_BITS, BINS, SHOWN, Figures, figures
from serve_app.label.reading import read_file

NAME = "report.html"
THUMBNAIL = 320
"""Longest side, in pixels."""
BAR_HEIGHT, BAR_WIDTH = 60, 9
_PAGE = Path(__file__).parents[1] / "playground" / "page.css"
_STYLE = """
body { margin: 0 auto; max-width: 1200px; padding: 24px; }
h1 { font-size: 22px; } h2 { font-size: 16px; margin-top: 32px; }
section.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 12px; }
figure { margin: 0; padding: 8px; background: var(--raised); border: 1px solid var(--line); }
figure { border-radius: var(--radius); }
figure img { width: 100%; display: block; border-radius: 4px; } figcaption { overflow-wrap: anywhere; margin-top: 6px; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: 4px 18px 4px 0; border-bottom: 1px solid var(--line); }
td.number { text-align: right; font-variant-numeric: tabular-nums; } .dim { color: var(--dim); }
.chip { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; }
"""


def write_report(catalogue: Catalogue, manifest: Mapping[str, Any], path: Path) -> None:
    """Write the page. An image whose file is gone, or changed, is left out of the contact sheet."""
    found = figures(catalogue)
    colours = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(catalogue.classes)}
    path.write_text("\n".join(_page(found, colours, manifest)), encoding="utf-8")


def _page(found: Figures, colours: Mapping[str, Colour], manifest: Mapping[str, Any]) -> Iterator[str]:
    root = _PAGE.read_text(encoding="utf-8").partition("}")[0] + "}"  # the playground's colours
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Labels</title>'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<style>{root}{_STYLE}</style></head><body>"
    errors = manifest["counts"]["errors"]
    yield f"<h1>{found.images} images, {sum(found.objects.values())} objects</h1>"
    yield f'<p class="dim">model {escape(str(manifest["labels"]["model"]))}; {errors} images could not be read</p>'
    yield "<h2>Classes</h2><table><tr><th>Class<th>Objects<th>Threshold<th>Scores, 0 to 1<th>Share of the image</tr>"
    for name, colour in colours.items():
        yield _row(name, colour, found, manifest["labels"]["classes"][name]["threshold"])
    yield "</table>"
    yield "<h2>The least sure first</h2><section class='sheet'>"
    for image in found.unsure:
        if (picture := thumbnail(image, colours)) is not None:
            yield _figure(image, picture)
    yield "</section>"
    yield from _names(f"Images without an object: {found.empty}", found.empty_names)
    title = f"Images that look alike (at most {ALIKE_BITS} of 64 bits differ)"
    yield from _names(title, [f"{one} and {other}" for one, other in found.alike])
    yield "</body></html>"


def _row(name: str, colour: Colour, found: Figures, threshold: float) -> str:
    sizes = found.sizes[name]
    smallest = max(sizes, default=0)
    scores = _bars([found.scores[name][number] for number in range(BINS)], _hex(colour), "scores from 0 to 1")
    areas = _bars(
        [sizes[number] for number in range(smallest, -1, -1)], _hex(colour), "each bar twice as large"
    )
    chip = f'<span class="chip" style="background:{_hex(colour)}"></span>'
    return (
        f'<tr><td>{chip}{escape(name)}<td class="number">{found.objects[name]}<td class="number">{threshold:g}'
        f"<td>{scores}<td>{areas}</tr>"
    )


def _bars(counts: Sequence[int], colour: str, title: str) -> str:
    most = max(1, *counts)
    bars = "".join(
        f'<rect x="{place * BAR_WIDTH}" y="{BAR_HEIGHT - height:.1f}" width="{BAR_WIDTH - 1}" height="{height:.1f}"/>'
        for place, count in enumerate(counts)
        if (height := BAR_HEIGHT * count / most)
    )
    return (
        f'<svg role="img" aria-label="{title}: {", ".join(map(str, counts))}" width="{len(counts) * BAR_WIDTH}" '
        f'height="{BAR_HEIGHT}" fill="{colour}"><title>{title}</title>{bars}</svg>'
    )


def _figure(image: LabelledImage, picture: str) -> str:
    said = ", ".join(
        f"{one.name} {one.score:.2f}" for one in sorted(image.objects, key=lambda one: one.score)[:6]
    )
    return (
        f'<figure><img src="{picture}" alt="{escape(said)}" loading="lazy"><figcaption>{escape(image.file)}'
        f'<br><span class="dim">{escape(said)}</span></figcaption></figure>'
    )


def _names(title: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f"<li>and perhaps more: {SHOWN} are shown" if len(names) == SHOWN else ""
        yield f"<h2>{title}</h2><ul>{''.join(f'<li>{escape(name)}' for name in names)}{more}</ul>"


def thumbnail(image: LabelledImage, colours: Mapping[str, Colour]) -> str | None:
    """The image with its masks, as a data: URL of a JPEG file; None where its file is not there any more."""
    try:
        picture = open_upright(read_file(image.location))
    except (EngineError, OSError, ImportError, ValueError):
        return None
    if (picture.height, picture.width) != tuple(image.size):
        return None
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    pixels: npt.NDArray[np.float32] = np.asarray(picture, dtype=np.float32).copy()
    for one in sorted(image.objects, key=lambda one: -one.area):
        mask = np.asarray(Image.fromarray(one.mask().full()).resize(picture.size))
        pixels[mask] = pixels[mask] * (1 - FILL) + np.array(colours[one.name], np.float32) * FILL
    file = BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
