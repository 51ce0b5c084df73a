"""report.html: a data set to look at, in one file that needs no other."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_engine.draw import FILL, PALETTE, Colour
from sam3_engine.errors import EngineError
from sam3_engine.images import open_upright
from serve_app.label.catalogue import Catalogue, LabelledImage
from serve_app.label.dataset import ERRORS
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
.wide { overflow-x: auto; } table { border-collapse: collapse; } li { overflow-wrap: anywhere; }
th, td { text-align: left; padding: 4px 18px 4px 0; border-bottom: 1px solid var(--line); }
h3 { font-size: 14px; margin: 24px 0 8px; }
small { display: flex; justify-content: space-between; color: var(--dim); }
td.number { text-align: right; font-variant-numeric: tabular-nums; } .dim { color: var(--dim); }
.chip { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; }
"""


def write_report(catalogue: Catalogue, manifest: Mapping[str, Any], path: Path) -> None:
    """Write the page. An image whose file is gone, or changed, is left out of the contact sheet."""
    found = figures(catalogue)
    colours = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(catalogue.classes)}
    errors = _errors(path.with_name(ERRORS))
    path.write_text("\n".join(_page(found, colours, manifest, errors)), encoding="utf-8")


def _errors(path: Path) -> list[str]:
    """The first images that could not be read, with the reasons."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        first = [json.loads(line) for line in islice(file, SHOWN)]
    return [f"{one['image']}: {one['error']}" for one in first]


def _page(
    found: Figures, colours: Mapping[str, Colour], manifest: Mapping[str, Any], errors: Sequence[str]
) -> Iterator[str]:
    root = _PAGE.read_text(encoding="utf-8").partition("}")[0] + "}"  # the playground's colours
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Labels</title>'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<style>{root}{_STYLE}</style></head><body>"
    unread = manifest["counts"]["errors"]
    yield f"<h1>{found.images} images, {sum(found.objects.values())} objects</h1>"
    yield f'<p class="dim">model {escape(str(manifest["labels"]["model"]))}; {unread} images could not be read</p>'
    yield '<h2>Classes</h2><div class="wide"><table>'
    yield "<tr><th>Class<th>Objects<th>Threshold<th>Scores, 0 to 1<th>Share of the image</tr>"
    for name, colour in colours.items():
        yield _row(name, colour, found, manifest["labels"]["classes"][name]["threshold"])
    yield "</table></div>"
    yield "<h2>Images of each class, the least sure first</h2>"
    pictures: dict[int, str | None] = {}
    for name, images in found.unsure.items():
        for image in images:
            if image.number not in pictures:
                pictures[image.number] = thumbnail(image, colours)
        shown = [(image, picture) for image in images if (picture := pictures[image.number])]
        if shown:
            yield f"<h3>{_chip(colours[name])}{escape(name)}</h3><section class='sheet'>"
            yield from (_figure(image, picture, name) for image, picture in shown)
            yield "</section>"
    yield from _names(f"Images that could not be read: {unread}", errors)
    yield from _names(f"Images without an object: {found.empty}", found.empty_names)
    title = f"Images that look alike (at most {ALIKE_BITS} of 64 bits differ)"
    yield from _names(title, [f"{one} and {other}" for one, other in found.alike])
    yield "</body></html>"


def _row(name: str, colour: Colour, found: Figures, threshold: float) -> str:
    sizes = found.sizes[name]
    smallest = max(sizes, default=0)
    scores = _bars([found.scores[name][number] for number in range(BINS)], _hex(colour), "scores", "0", "1")
    areas = _bars(
        [sizes[number] for number in range(smallest, -1, -1)],
        _hex(colour),
        "areas, each bar twice the last",
        f"1/{2**smallest}",
        "all" if smallest else "",
    )
    return (
        f'<tr><td>{_chip(colour)}{escape(name)}<td class="number">{found.objects[name]}<td class="number">{threshold:g}'
        f"<td>{scores}<td>{areas}</tr>"
    )


def _chip(colour: Colour) -> str:
    return f'<span class="chip" style="background:{_hex(colour)}"></span>'


def _bars(counts: Sequence[int], colour: str, title: str, first: str, last: str) -> str:
    most = max(1, *counts)
    bars = "".join(
        f'<rect x="{place * BAR_WIDTH}" y="{BAR_HEIGHT - height:.1f}" width="{BAR_WIDTH - 1}" height="{height:.1f}"/>'
        for place, count in enumerate(counts)
        if (height := BAR_HEIGHT * count / most)
    )
    return (
        f'<svg role="img" aria-label="{title}: {", ".join(map(str, counts))}" width="{len(counts) * BAR_WIDTH}" '
        f'height="{BAR_HEIGHT}" fill="{colour}"><title>{title}</title>{bars}</svg>'
        f'<small style="width:{len(counts) * BAR_WIDTH}px"><span>{first}</span><span>{last}</span></small>'
    )


def _figure(image: LabelledImage, picture: str, name: str) -> str:
    ordered = sorted(image.objects, key=lambda one: (one.name != name, one.score))
    said = ", ".join(f"{one.name} {one.score:.2f}" for one in ordered[:6])
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
