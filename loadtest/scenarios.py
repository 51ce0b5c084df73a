"""The scenarios of a load: each draws sessions, and a session is a few requests in order.

    annotator    a new image, then clicks on it with a pause between clicks
    concept      two concepts in an image that is new to the server
    concept-hot  one to four concepts in one of a hundred known images, some of which are used far more often
    bulk         a folder of images: lists of eight new images, with two concepts each
    mixed        of ten sessions, six annotators, three concept-hot, one concept

For comparisons, three scenarios of one request for a known image by its id: click, one-prompt, sixteen-prompts.
"""

import base64
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from loadtest.corpus import CONCEPTS, Corpus, Picture
from loadtest.traffic import Zipf

CLICKS = 5
THINK_S = 1.0
"""Mean seconds that an annotator looks at a mask before the next click."""
KNOWN = 100
"""Number of images of `concept-hot`; their popularity follows Zipf's law."""
LIST = 8
"""Images in one request of `bulk`."""
CONCEPT, VISUAL, EMBED = "/sam3/concept_segment", "/sam3/visual_segment", "/sam3/embed_image"


@dataclass(frozen=True)
class Ask:
    """One request. `pictures`: the pictures of its images, to check the answer."""

    kind: str
    """Name of its kind in the report: embed, click, concept, concept-hot, bulk."""
    route: str
    fields: dict[str, Any]
    """The JSON fields, without the image."""
    pictures: tuple[Picture, ...]
    files: tuple[bytes, ...]
    """The images' files."""
    send: bool = True
    """True: the image is sent; False: its `image_id` alone."""
    think_s: float = 0.0
    """Seconds between the answer before it and this request."""

    @property
    def document(self) -> dict[str, Any]:
        """The whole request as JSON."""
        if not self.send:
            return self.fields
        images = [{"type": "base64", "value": base64.b64encode(file).decode()} for file in self.files]
        return {**self.fields, "image": images if len(images) > 1 else images[0]}

    def whole(self) -> "Ask":
        """The same request with its image, for servers without a cache."""
        return Ask(self.kind, self.route, self.fields, self.pictures, self.files, True, self.think_s)


@dataclass
class Traffic:
    """Draws sessions over one corpus. `run` makes its files differ from those of any other run."""

    corpus: Corpus
    run: str
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._zipf = Zipf(KNOWN)

    def session(self, scenario: str) -> list[Ask]:
        """The requests of one session; the first has no pause before it."""
        return SCENARIOS[scenario](self)

    def annotator(self) -> list[Ask]:
        """A new image, then clicks on its shapes."""
        picture, name, file = self._new()
        asks = [embed(picture, file, name)]
        for _ in range(CLICKS):
            x, y = self.rng.choice(picture.clicks)
            prompt = {"points": [{"x": x, "y": y, "positive": True}]}
            think_s = self.rng.expovariate(1 / THINK_S)
            asks.append(click(picture, file, name, prompt, think_s))
        return asks

    def concept(self) -> list[Ask]:
        """Two concepts in a new image, which shows at least one of them."""
        picture, _, file = self._new()
        return [concept("concept", picture, file, self._texts(picture, 2))]

    def concept_hot(self) -> list[Ask]:
        """Some concepts in a known image; its file is sent too, as most clients do."""
        picture, file = known(self.corpus, self._zipf.draw(self.rng))
        return [concept("concept-hot", picture, file, self._texts(picture, self.rng.randint(1, 4)))]

    def bulk(self) -> list[Ask]:
        """A list of new images."""
        news = [self._new() for _ in range(LIST)]
        prompts = [text_prompt(text) for text in self._texts(news[0][0], 2)]
        return [
            Ask(
                "bulk",
                CONCEPT,
                {"prompts": prompts},
                tuple(p for p, _, _ in news),
                tuple(f for *_, f in news),
            )
        ]

    def mixed(self) -> list[Ask]:
        """One of the others."""
        kinds: tuple[Callable[[], list[Ask]], ...] = (self.annotator, self.concept_hot, self.concept)
        return self.rng.choices(kinds, (6, 3, 1))[0]()

    def click(self) -> list[Ask]:
        """One click on a known image."""
        picture = self.rng.choice(self.corpus.pictures)
        x, y = self.rng.choice(picture.clicks)
        prompt = {"points": [{"x": x, "y": y, "positive": True}]}
        return [click(picture, picture.file(picture.name), picture.name, prompt)]

    def prompts(self, count: int) -> list[Ask]:
        """Some concepts in a known image."""
        picture = self.rng.choice(self.corpus.pictures)
        prompts = [text_prompt(text) for text in self._texts(picture, count)]
        fields = {"image_id": picture.name, "prompts": prompts}
        kind = f"{count} prompt" + "s" * (count > 1)
        return [Ask(kind, CONCEPT, fields, (picture,), (picture.file(picture.name),), send=False)]

    def _new(self) -> tuple[Picture, str, bytes]:
        picture = self.rng.choice(self.corpus.pictures)
        name = uuid.UUID(int=self.rng.getrandbits(128)).hex
        return picture, name, picture.file(f"{self.run} {name}")

    def _texts(self, picture: Picture, count: int) -> list[str]:
        first = self.rng.choice(picture.present)
        others = [text for text in CONCEPTS if text != first]
        return [first, *self.rng.sample(others, count - 1)]


SCENARIOS: dict[str, Callable[[Traffic], list[Ask]]] = {
    "annotator": Traffic.annotator,
    "concept": Traffic.concept,
    "concept-hot": Traffic.concept_hot,
    "bulk": Traffic.bulk,
    "mixed": Traffic.mixed,
    "click": Traffic.click,
    "one-prompt": lambda traffic: traffic.prompts(1),
    "sixteen-prompts": lambda traffic: traffic.prompts(16),
}


def known(corpus: Corpus, number: int) -> tuple[Picture, bytes]:
    """One of the images of `concept-hot`. `embed` sends all of them before the load."""
    picture = corpus.pictures[number % len(corpus.pictures)]
    return picture, picture.file(f"known {number}")


def embed(picture: Picture, file: bytes, name: str) -> Ask:
    """A request to encode an image under a name."""
    return Ask("embed", EMBED, {"image_id": name}, (picture,), (file,))


def text_prompt(text: str) -> dict[str, str]:
    """A concept prompt."""
    return {"type": "text", "text": text}


def concept(kind: str, picture: Picture, file: bytes, texts: list[str]) -> Ask:
    """A concept request on one image, by its file."""
    return Ask(kind, CONCEPT, {"prompts": [text_prompt(text) for text in texts]}, (picture,), (file,))


def click(picture: Picture, file: bytes, name: str, prompt: dict[str, Any], think_s: float = 0.0) -> Ask:
    """A click on an image that the server has under a name."""
    fields = {"image_id": name, "prompts": [prompt]}
    return Ask("click", VISUAL, fields, (picture,), (file,), send=False, think_s=think_s)
