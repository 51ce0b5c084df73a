"""Scenes that nothing is trained on, drawn by other code than those that are: Pillow, its own colours and corners.

They show how well `tiny` knows shapes rather than one program's way to draw them. Nothing here may be imported by
training, nor share with it more than names and labels: then the figures would say less.
"""

import io
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from training.concepts import NO_COLOUR
from training.labelled import GROUND, Drawing, drawing

FINE = 2
"""Shapes are drawn larger by this factor, then reduced."""
Polygon = list[tuple[float, float]]
RGB = tuple[int, ...]

# Colours of the web, of drawing programs, of charts and of style guides. Each name has what most people call so.
COLOURS = {
    "red": "ff0000 e53935 d32f2f c62828 dc143c b22222 ef4444 dc2626 cc0000 d62728 e74c3c",
    "orange": "ff8c00 fb8c00 f57c00 ffa500 f97316 ff7f0e e67e22 f58231 ff7f00",
    "yellow": "ffff00 fdd835 ffeb3b facc15 ffd700 f1c40f ffe119 f0e442 fff176",
    "green": "008000 00a651 2ca02c 4caf50 388e3c 22c55e 16a34a 00ff00 228b22 2ecc71 3cb44b 7cb342 006400",
    "blue": "0000ff 1e88e5 1976d2 2563eb 3b82f6 4169e1 0072b2 1f77b4 3498db 000080 4363d8 56b4e9",
    "purple": "800080 8e24aa 7b1fa2 9333ea a855f7 9b59b6 9467bd 6a0dad 663399 911eb4 8a2be2",
    NO_COLOUR: "000000 212121 616161 9e9e9e ffffff",
}
_PAPERS = (
    "ffffff ffffff ffffff fafafa f5f5dc f0e6d2 e0f2f1 e3f2fd fce4ec d7ccc8 b0bec5 c5cae9 dcedc8 cfd8dc bcaaa4"
)
_WALLS = "90a4ae 78909c 607d8b 455a64 37474f 263238 1c1c1c 000000 3e2723 5d4037 8d6e63 2f4f4f 556b2f"
GROUNDS = f"{_PAPERS} {_WALLS}".split()
SHAPES = ("circle", "square", "triangle", "star")


@dataclass(slots=True)
class _Scene:
    """A scene while it is drawn. areas: pixels of each shape before others covered it."""

    image: Image.Image
    owners: np.ndarray
    names: list[tuple[str, str]]
    areas: list[int]


def draw_held_out(seed: int) -> Drawing:
    """The scene of a seed: 1 to 12 shapes, radius 4 to 30 % of the side, aspect 1:2 to 2:1, about 480 pixels wide."""
    rng = random.Random(f"held out {seed}")
    while True:
        aspect = rng.choice([1, 4 / 3, 3 / 4, 3 / 2, 2 / 3, 16 / 9, 9 / 16, 2, 1 / 2])
        width, height = round(460 * aspect**0.5), round(460 / aspect**0.5)
        scene = _Scene(_ground(width, height, rng), np.full((height, width), GROUND, np.int8), [], [])
        kinds = [(_colour(rng), rng.choice(SHAPES)) for _ in range(rng.choice([1, 2, 2, 3, 3, 4, 6]))]
        covering = rng.random() < 0.35
        largest = rng.choice([0.07, 0.12, 0.2, 0.3])
        for _ in range(rng.choice([1, 2, 3, 4, 5, 6, 8, 10, 12])):
            _add(scene, rng.choice(kinds), largest, covering, rng)
        if scene.names:
            return drawing(np.asarray(_finish(scene.image, rng)), scene.owners, scene.names)


def _colour(rng: random.Random) -> str:
    return rng.choice([*list(COLOURS)[:-1]] * 4 + [NO_COLOUR])


def _rgb(code: str) -> RGB:
    return tuple(bytes.fromhex(code))


def _add(scene: _Scene, kind: tuple[str, str], largest: float, covering: bool, rng: random.Random) -> None:
    """Add one shape at the first of some random places that allows it; none, when none does."""
    height, width = scene.owners.shape
    fill = _rgb(rng.choice(COLOURS[kind[0]].split()))
    for _ in range(15):
        radius = 460 * rng.uniform(max(0.04, largest * 0.45), largest)
        if 2 * radius > min(width, height):
            continue
        x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
        stamp, line = _stamp(kind[1], radius, rng)
        pad = math.ceil(radius * 0.6) + 6
        left, top = round(x - radius) - pad, round(y - radius) - pad
        box = (
            max(0, left),
            max(0, top),
            min(width, left + stamp.width + 2 * pad),
            min(height, top + stamp.height + 2 * pad),
        )
        part = scene.image.crop(box)
        cover = Image.new("L", part.size)
        cover.paste(stamp, (left + pad - box[0], top + pad - box[1]))
        own = np.asarray(cover) > 127
        owners = scene.owners[box[1] : box[3], box[0] : box[2]]
        if not own.any() or not _clear(scene, owners[own], covering):
            continue
        rim = (np.asarray(cover.filter(ImageFilter.GaussianBlur(3))) > 12) & ~own
        if np.mean(_contrast(np.asarray(part)[rim], fill) < 0.16) > 0.12:
            continue
        if rng.random() < 0.25:
            part = _shadow(part, cover, radius, rng)
        layer = _paint(part.size, fill, (x - box[0], y - box[1]), radius, rng)
        if line:
            ink = rng.choice([(0, 0, 0), (40, 40, 40), tuple(c // 2 for c in fill), (255, 255, 255)])
            edge = Image.new("RGB", part.size, ink)
            # At two widths of the blur inside a straight side 98 % are left.
            inner = cover.filter(ImageFilter.GaussianBlur(line / 2)).point(
                lambda value: 17 * max(0, value - 240)
            )
            layer = Image.composite(layer, edge, inner)
        scene.image.paste(Image.composite(layer, part, cover), box)
        owners[own] = len(scene.names)
        scene.names.append(kind)
        scene.areas.append(int(own.sum()))
        return


def _clear(scene: _Scene, hidden: np.ndarray, covering: bool) -> bool:
    """Whether a shape that hides pixels of these owners leaves enough of each of them."""
    for index in set(hidden[hidden != GROUND].tolist()):
        left = (scene.owners == index).sum() - (hidden == index).sum()
        if not covering or left < 0.65 * scene.areas[index]:
            return False
    return True


def _contrast(beside: np.ndarray, fill: RGB) -> np.ndarray:
    """Distance in a plane of brightness and two colour differences (YCbCr), 0 to about 1."""

    def planes(rgb: np.ndarray) -> np.ndarray:
        red, green, blue = np.moveaxis(rgb.astype(float) / 255, -1, 0)
        light = 0.299 * red + 0.587 * green + 0.114 * blue
        return np.stack([light, 0.56 * (blue - light), 0.71 * (red - light)], -1)

    return np.asarray(np.linalg.norm(planes(beside) - planes(np.array(fill)), axis=-1))


def _stamp(shape: str, radius: float, rng: random.Random) -> tuple[Image.Image, float]:
    """The shape's coverage as a greyscale image, and the width of the edge inside it, 0 for none."""
    side = 2 * math.ceil(radius * FINE)
    stamp = Image.new("L", (side, side))
    draw = ImageDraw.Draw(stamp)
    if shape == "circle":
        flat = rng.choice([0, 0, 0.06, 0.12]) * side / 2
        draw.ellipse((0, flat, side - 1, side - 1 - flat), fill=255)
        if rng.random() < 0.3:
            draw.ellipse((0, 0, side, side), fill=0)
            draw.polygon(_wobbling(side / 2, rng), fill=255)
        if rng.random() < 0.08 and radius > 40:
            hole = side * rng.uniform(0.28, 0.34)
            draw.ellipse((hole, hole, side - hole, side - hole), fill=0)
    elif shape == "square":
        half = side / 2 / math.sqrt(2)
        tall = half * rng.choice([1, 1, 0.88, 0.94])
        corner = rng.choice([0, 0, 0, 0.15, 0.3]) * half
        middle = side / 2
        box = (middle - half, middle - tall, middle + half, middle + tall)
        draw.rounded_rectangle(box, corner, fill=255)
    elif shape == "triangle":
        draw.polygon(_triangle(side / 2, rng), fill=255)
    else:
        draw.polygon(_star(side / 2, rng), fill=255)
    if shape in ("triangle", "star") and rng.random() < 0.25:
        # Blunt the corners: blurred, then cut at the middle.
        soft = stamp.filter(ImageFilter.GaussianBlur(side * 0.02))
        stamp = soft.point(lambda value: 255 if value > 127 else 0)
    angle = rng.choice([0.0, rng.gauss(0, 6), rng.uniform(0, 360)])
    stamp = stamp.rotate(angle, Image.Resampling.BICUBIC)
    small = stamp.resize((side // FINE, side // FINE), Image.Resampling.LANCZOS)
    return small, rng.choice([0.0, 0.0, max(1.0, radius * rng.uniform(0.03, 0.1))])


def _wobbling(radius: float, rng: random.Random) -> Polygon:
    """A circle as a hand draws one: a smooth curve through a few points near it (Catmull-Rom)."""
    knots = [
        (
            radius * (1 + math.cos(2 * math.pi * k / 9) * (far := rng.uniform(0.88, 0.99))),
            radius * (1 + math.sin(2 * math.pi * k / 9) * far),
        )
        for k in range(9)
    ]
    points: Polygon = []
    for k in range(9):
        a, b, c, d = (np.array(knots[(k + step) % 9]) for step in (-1, 0, 1, 2))
        for t in np.linspace(0, 1, 8, endpoint=False):
            curve = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
            points.append((float(curve[0] / 2), float(curve[1] / 2)))
    return points


def _triangle(radius: float, rng: random.Random) -> Polygon:
    """Equilateral, isosceles or right-angled, its corners on the circle or a little inside."""
    degrees = rng.choice(
        [(90, 210, 330), (90, 215, 325), (90, 225, 315), (90, 195, 345), (0, 180, rng.uniform(60, 120))]
    )
    return _near((radius, radius), [(radius, angle) for angle in degrees], 0.04 * radius, rng)


def _star(radius: float, rng: random.Random) -> Polygon:
    rays = rng.choice([5, 5, 5, 5, 5, 5, 6, 4])
    waist = radius * {4: 0.38, 5: rng.choice([0.382, 0.45, 0.5]), 6: 0.56}[rays]
    spokes = [(waist if k % 2 else radius, 90 + 180 * k / rays) for k in range(2 * rays)]
    return _near((radius, radius), spokes, 0.02 * radius, rng)


def _near(
    centre: tuple[float, float], spokes: list[tuple[float, float]], off: float, rng: random.Random
) -> Polygon:
    """Points at a distance and an angle in degrees from the centre, half of the time each a little off."""
    off *= rng.choice([0, 1])
    return [
        (
            centre[0] + far * math.cos(math.radians(angle)) + rng.uniform(-off, off),
            centre[1] - far * math.sin(math.radians(angle)) + rng.uniform(-off, off),
        )
        for far, angle in spokes
    ]


def _paint(
    size: tuple[int, int], fill: RGB, centre: tuple[float, float], radius: float, rng: random.Random
) -> Image.Image:
    """The shape's colour over a whole image: flat, from light to dark, with a highlight, or grained."""
    flat = Image.new("RGB", size, fill)
    kind = rng.choice(["flat", "flat", "flat", "ramp", "shine", "grain"])
    if kind == "flat":
        return flat
    if kind == "grain":
        speckle = ImageChops.multiply(flat, _noise(size, rng.uniform(10, 35), rng).convert("RGB"))
        return Image.blend(flat, ImageChops.add(speckle, speckle), 0.5)
    square = Image.linear_gradient("L") if kind == "ramp" else ImageOps.invert(Image.radial_gradient("L"))
    reach = math.ceil(radius * 1.5)
    light = Image.new("L", size, 128)
    turned = square.rotate(rng.choice([0, 90, 180, 270])).resize((2 * reach, 2 * reach))
    light.paste(turned, (round(centre[0]) - reach, round(centre[1]) - reach))
    other = tuple(int(c * 0.6) for c in fill) if kind == "ramp" else tuple(c + (255 - c) // 2 for c in fill)
    strength = light.point(lambda value: int(value * (0.8 if kind == "ramp" else 0.45)))
    return Image.composite(Image.new("RGB", size, other), flat, strength)


def _shadow(image: Image.Image, cover: Image.Image, radius: float, rng: random.Random) -> Image.Image:
    moved = ImageChops.offset(cover, round(radius * rng.uniform(0.03, 0.15)), round(radius * 0.12))
    soft = moved.filter(ImageFilter.GaussianBlur(radius * rng.uniform(0.04, 0.12)))
    black = Image.new("RGB", image.size)
    return Image.composite(black, image, soft.point(lambda value: int(value * 0.45)))


def _noise(size: tuple[int, int], strength: float, rng: random.Random) -> Image.Image:
    """Grey noise about 128 (Pillow's own takes no seed)."""
    values = np.random.default_rng(rng.getrandbits(32)).normal(128, strength, size[::-1])
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _ground(width: int, height: int, rng: random.Random) -> Image.Image:
    makers: list[Callable[[int, int, random.Random], Image.Image]] = [
        _sheet, _sheet, _sheet, _fade, _fade, _cloud, _cloud, _lined, _scribbled,
    ]  # fmt: skip
    return rng.choice(makers)(width, height, rng)


def _sheet(width: int, height: int, rng: random.Random) -> Image.Image:
    return Image.new("RGB", (width, height), _rgb(rng.choice(GROUNDS)))


def _fade(width: int, height: int, rng: random.Random) -> Image.Image:
    kind = rng.choice([Image.linear_gradient, Image.radial_gradient])
    share = kind("L").rotate(rng.choice([0, 90, 180])).resize((width, height))
    return Image.composite(_sheet(width, height, rng), _sheet(width, height, rng), share)


def _cloud(width: int, height: int, rng: random.Random) -> Image.Image:
    """Noise at several sizes between two tones: like sand, stone, leaves or a wall out of focus."""
    share = Image.new("L", (width, height), 128)
    for cells in rng.sample([4, 9, 20, 45, 110], 3):
        small = _noise((cells, cells), 90, rng)
        share = Image.blend(share, small.resize((width, height), Image.Resampling.BICUBIC), 0.5)
    return Image.composite(_sheet(width, height, rng), _sheet(width, height, rng), share)


def _lined(width: int, height: int, rng: random.Random) -> Image.Image:
    """Ruled or squared paper, or a floor of tiles."""
    image = _sheet(width, height, rng)
    draw = ImageDraw.Draw(image)
    ink = tuple((value + 128) // 2 for value in image.getpixel((0, 0)))  # type: ignore[union-attr]
    step = rng.randint(14, 60)
    for y in range(rng.randint(0, step), height, step):
        draw.line((0, y, width, y), ink, rng.choice([1, 1, 2]))
    if rng.random() < 0.6:
        for x in range(rng.randint(0, step), width, step):
            draw.line((x, 0, x, height), ink, 1)
    return image


def _scribbled(width: int, height: int, rng: random.Random) -> Image.Image:
    """Paper with writing, lines and open curves on it: none of them a shape with a name."""
    image = _sheet(width, height, rng)
    draw = ImageDraw.Draw(image)
    dark = sum(image.getpixel((0, 0))) < 380  # type: ignore[arg-type]
    for _ in range(rng.randint(1, 4)):
        grey = rng.randint(150, 230) if dark else rng.randint(20, 120)
        at = (rng.uniform(0, width * 0.8), rng.uniform(0, height * 0.9))
        kind = rng.randint(0, 2)
        if kind == 0:
            text = "".join(rng.choice("AEHKMNRTWaehkmnrt 12457") for _ in range(rng.randint(3, 14)))
            draw.text(at, text, (grey,) * 3, ImageFont.load_default(rng.uniform(12, 40)))
        elif kind == 1:
            end = (at[0] + rng.uniform(-200, 200), at[1] + rng.uniform(-120, 120))
            draw.line((*at, *end), (grey,) * 3, rng.randint(1, 5))
        else:
            far = rng.uniform(20, 90)
            start = rng.uniform(0, 360)
            box = (at[0], at[1], at[0] + far, at[1] + far * rng.uniform(0.6, 1))
            draw.arc(box, start, start + rng.uniform(60, 200), (grey,) * 3, rng.randint(2, 5))
    return image


def _finish(image: Image.Image, rng: random.Random) -> Image.Image:
    """As it is, or blurred, grained, faded, and saved as a JPEG or with few colours."""
    if rng.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2.2)))
    if rng.random() < 0.4:
        strength = rng.uniform(4, 28)
        grain = Image.merge("RGB", [_noise(image.size, strength, rng) for _ in range(3)])
        image = ImageChops.add(image, grain, 1, -128)
    if rng.random() < 0.2:
        image = Image.blend(image, Image.new("RGB", image.size, (rng.choice([40, 128, 220]),) * 3), 0.15)
    kind = rng.random()
    if kind < 0.45:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=rng.randint(40, 95))
        return Image.open(file).convert("RGB")
    return image.quantize(64).convert("RGB") if kind < 0.5 else image
