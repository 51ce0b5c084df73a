"""The concepts that `tiny` learns: coloured shapes, and words that name none of them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

SHAPES = ("circle", "square", "triangle", "star")
HUES = {"red": 0, "orange": 27, "yellow": 56, "green": 122, "blue": 218, "purple": 285}
COLOURS = tuple(HUES)
NO_COLOUR = "colourless"
"""The colour of black, grey and white shapes: only their shape's name means them. It is no word of the vocabulary."""
VISUAL = "visual"
"""The text that the package gives to prompts that have boxes only."""

# Words of everyday prompts that name nothing in a scene; all words outside the vocabulary share one embedding.
OTHER_WORDS = (
    "cat",
    "dog",
    "person",
    "car",
    "tree",
    "bus",
    "chair",
    "hand",
    "window",
    "pink",
    "hexagon",
    "line",
)


ARTICLE = "a"
READ_AS_THE_ARTICLE = ("an", "the", "all", "any", "every", "some")
"""They have the article's embedding: no phrase is drawn with them."""


@dataclass(frozen=True, slots=True)
class Concept:
    """A colour, a shape, or both. None means any."""

    colour: str | None
    shape: str | None

    def matches(self, colour: str, shape: str) -> bool:
        return self.colour in (None, colour) and self.shape in (None, shape)

    def __str__(self) -> str:
        return " ".join(word for word in (self.colour, self.shape) if word)


ALL_CONCEPTS = tuple(
    Concept(colour, shape) for colour in (None, *COLOURS) for shape in (None, *SHAPES) if colour or shape
)


def phrase(concept: Concept, rng: random.Random) -> str:
    """A random phrase for the concept: mostly the bare words, sometimes with an article or in the plural."""
    text = str(concept)
    style = rng.random()
    if style < 0.1:
        return f"{ARTICLE} {text}"
    if style < 0.2 and concept.shape:
        return f"{text}s"
    return text


def known_phrases() -> Sequence[str]:
    """Phrases whose tokens cover everything that is trained of the model's vocabulary."""
    texts = [str(concept) for concept in ALL_CONCEPTS]
    return [VISUAL, *texts, *(f"{ARTICLE} {text}" for text in texts), *(f"{shape}s" for shape in SHAPES)]
