"""What the report of a data set shows, gathered in one pass over its images, in memory that does not grow with them."""

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from serve_app.label.catalogue import Catalogue, LabelledImage

SHOWN = 60
"""Images of each list."""
SHEET, LEAST, MOST = 96, 3, 48
"""Images of all classes' contact sheets together, and of one class's at least and at most."""
BINS = 20
COMPARED = 200_000
"""Images among which those that look alike are searched."""
ALIKE_BITS = 3
"""Of the 64 of `reading.look`: so many may differ between images that look alike."""
BUCKET = 32
"""Images with which one is compared, of those that agree with it in a quarter of the bits."""


@dataclass(slots=True)
class Figures:
    """scores: objects by class and twentieth of the score. sizes: objects by class and power of two of the share of
    the image's area, 0 for all of it. empty: images without an object. alike: pairs of names."""

    images: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    scores: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    sizes: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    unsure: dict[str, list[LabelledImage]] = field(default_factory=dict)
    empty: int = 0
    empty_names: list[str] = field(default_factory=list)
    alike: list[tuple[str, str]] = field(default_factory=list)


def figures(catalogue: Catalogue) -> Figures:
    """The figures of a data set. unsure: by class the images with its least sure objects, those first."""
    found, twins = Figures(), _Twins()
    sheets: dict[str, list[tuple[float, int, LabelledImage]]] = {name: [] for name in catalogue.classes}
    most = max(LEAST, min(MOST, SHEET // max(1, len(sheets))))
    for image in catalogue:
        found.images += 1
        if len(found.alike) < SHOWN and found.images <= COMPARED and (twin := twins.of(image)):
            found.alike.append((twin, image.file))
        if not image.objects:
            found.empty += 1
            if len(found.empty_names) < SHOWN:
                found.empty_names.append(image.file)
            continue
        for one in image.objects:
            found.objects[one.name] += 1
            found.scores[one.name][min(BINS - 1, int(one.score * BINS))] += 1
            found.sizes[one.name][_halvings(one.area, image.size.height * image.size.width)] += 1
        for name in {one.name for one in image.objects}:
            sheet = sheets[name]
            lowest = min(one.score for one in image.objects if one.name == name)
            entry = (-lowest, -image.number, image)
            (heapq.heappush if len(sheet) < most else heapq.heappushpop)(sheet, entry)
    for name, sheet in sheets.items():
        found.unsure[name] = [image for *_, image in sorted(sheet, key=lambda entry: (-entry[0], -entry[1]))]
    return found


def _halvings(area: int, whole: int) -> int:
    """How often the whole must be halved to be no larger than the area."""
    return (whole // max(1, area)).bit_length() - 1


class _Twins:
    """Finds an earlier image that looks alike. Two numbers that differ in at most three bits agree in one quarter."""

    def __init__(self) -> None:
        self._quarters: dict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)

    def of(self, image: LabelledImage) -> str | None:
        """The name of one; remembers this one."""
        places = [(quarter, image.look >> 16 * quarter & 0xFFFF) for quarter in range(4)]
        near = (other for place in places for other in self._quarters[place])
        found = next((name for look, name in near if (look ^ image.look).bit_count() <= ALIKE_BITS), None)
        for place in places:
            if len(self._quarters[place]) < BUCKET:
                self._quarters[place].append((image.look, image.file))
        return found
