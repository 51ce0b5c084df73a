"""The images of a load: drawn scenes as JPEG files, with any number of distinct files from a few scenes.

A new file is a drawn scene with another comment segment (JPEG's COM). Its bytes are new, so every cache treats it as a
new image. Its pixels are the same, so every answer can be compared with the reference for these pixels.
"""

import random
from dataclasses import dataclass
from functools import cached_property

import cv2

from sam3_engine.types import ImageSize
from training.concepts import ALL_CONCEPTS, OTHER_WORDS
from training.scenes import Scene, draw_scene, render

QUALITY = 90
CONCEPTS = tuple(str(concept) for concept in ALL_CONCEPTS) + OTHER_WORDS[:4]
"""The concepts of requests: all that `tiny` has learnt, and some that it has not."""
_START = b"\xff\xd8"
_COMMENT = b"\xff\xfe"


@dataclass(frozen=True)
class Picture:
    """A drawn scene and its file."""

    number: int
    scene: Scene
    jpeg: bytes

    @property
    def name(self) -> str:
        """The `image_id` under which a server keeps it from the beginning of a load."""
        return f"loadtest-{self.scene.seed}-{self.scene.size.width}"

    @cached_property
    def clicks(self) -> tuple[tuple[float, float], ...]:
        """A point (x, y) inside each shape, in pixels."""
        centres = [shape.outline.mean(axis=0) for shape in self.scene.shapes]
        return tuple((round(float(x), 1), round(float(y), 1)) for x, y in centres)

    @cached_property
    def present(self) -> tuple[str, ...]:
        """The concepts that name a shape of the scene."""
        shapes = self.scene.shapes
        return tuple(str(c) for c in ALL_CONCEPTS if any(c.matches(s.colour, s.shape) for s in shapes))

    def file(self, comment: str) -> bytes:
        """The scene as a file with this comment."""
        return commented(self.jpeg, comment)


@dataclass(frozen=True)
class Corpus:
    """Scenes drawn from a seed, all of one size."""

    pictures: tuple[Picture, ...]

    @classmethod
    def draw(cls, seed: int, count: int, size: ImageSize) -> "Corpus":
        """Draw scenes. The same seed draws the same scenes in every process."""
        numbers = random.Random(seed).sample(range(10**9), count)
        return cls(tuple(_draw(index, number, size) for index, number in enumerate(numbers)))


def commented(jpeg: bytes, comment: str) -> bytes:
    """A JPEG file with a comment segment (ITU T.81, B.2.4.5). Raises ValueError for other files."""
    if not jpeg.startswith(_START):
        raise ValueError("not a JPEG file")
    text = comment.encode()
    segment = _COMMENT + (len(text) + 2).to_bytes(2, "big") + text
    return _START + segment + jpeg[len(_START) :]


def _draw(index: int, number: int, size: ImageSize) -> Picture:
    scene = draw_scene(number, size)
    done, data = cv2.imencode(".jpg", render(scene)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return Picture(index, scene, data.tobytes())
