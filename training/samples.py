"""Prompts for a scene, each with its targets. One training batch has many prompts on few images."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam3_engine.types import Box, ConceptPrompt, Point, VisualPrompt
from training.concepts import ALL_CONCEPTS, NO_COLOUR, OTHER_WORDS, Concept, phrase
from training.labelled import Labelled


@dataclass(frozen=True, slots=True)
class ConceptSample:
    """A concept prompt and the indices of the scene's shapes that it should find."""

    prompt: ConceptPrompt
    targets: tuple[int, ...]


def present_text(scene: Labelled, rng: random.Random) -> ConceptSample:
    """A phrase that names at least one shape of the scene."""
    shape = rng.choice(scene.shapes)
    names = [Concept(shape.colour, None), Concept(None, shape.shape), Concept(shape.colour, shape.shape)]
    concept = rng.choice(names) if shape.colour != NO_COLOUR else Concept(None, shape.shape)
    return ConceptSample(ConceptPrompt(text=phrase(concept, rng)), matching(scene, concept))


def absent_text(scene: Labelled, rng: random.Random) -> ConceptSample:
    """A phrase that names nothing in the scene: mostly a near miss, sometimes another word."""
    if rng.random() < 0.15:
        return ConceptSample(ConceptPrompt(text=rng.choice(OTHER_WORDS)), ())
    absent = [concept for concept in ALL_CONCEPTS if not matching(scene, concept)]
    kinds = {(shape.colour, shape.shape) for shape in scene.shapes}
    near = [c for c in absent if any(c.colour == colour or c.shape == shape for colour, shape in kinds)]
    return ConceptSample(
        ConceptPrompt(text=phrase(rng.choice(near if rng.random() < 0.6 and near else absent), rng)), ()
    )


def exemplar(scene: Labelled, rng: random.Random) -> ConceptSample:
    """Boxes that show a kind (colour and shape), perhaps with one of another kind marked as unlike it, or with a text.

    A negative box excludes its kind from the text's targets.
    """
    example = rng.choice(scene.shapes)
    kind = Concept(example.colour, example.shape)
    same = matching(scene, kind)
    others = [i for i, shape in enumerate(scene.shapes) if not kind.matches(shape.colour, shape.shape)]
    shown = rng.sample(same, min(len(same), rng.choice([1, 1, 2])))
    boxes = [_loosened(scene.shapes[i].box, rng) for i in shown]
    if rng.random() < 0.15:
        wide = Concept(None, example.shape)
        targets = matching(scene, wide)
        excluded = [i for i in targets if i in others]
        if excluded:
            unlike = scene.shapes[rng.choice(excluded)]
            rest = tuple(i for i in targets if scene.shapes[i].colour != unlike.colour)
            prompt = ConceptPrompt(phrase(wide, rng), (_loosened(unlike.box, rng),), (False,))
            return ConceptSample(prompt, rest)
        return ConceptSample(ConceptPrompt(phrase(wide, rng), tuple(boxes), (True,) * len(boxes)), targets)
    labels = [True] * len(boxes)
    if others and rng.random() < 0.3:
        boxes.append(_loosened(scene.shapes[rng.choice(others)].box, rng))
        labels.append(False)
    return ConceptSample(ConceptPrompt(None, tuple(boxes), tuple(labels)), same)


def matching(scene: Labelled, concept: Concept) -> tuple[int, ...]:
    """Indices of the shapes that the concept names."""
    return tuple(i for i, shape in enumerate(scene.shapes) if concept.matches(shape.colour, shape.shape))


def one_click(scene: Labelled, index: int, rng: random.Random) -> VisualPrompt:
    """One positive click well inside the object."""
    return VisualPrompt(points=(scene.inside(index, rng),))


def several_clicks(
    scene: Labelled, index: int, positives: int, negatives: int, rng: random.Random
) -> VisualPrompt:
    """Clicks on the object and outside of it; half of those outside are on another object, if there is one."""
    others = [i for i in range(len(scene.shapes)) if i != index]
    points = [scene.inside(index, rng) for _ in range(positives)]
    for _ in range(negatives):
        if others and rng.random() < 0.5:
            points.append(scene.inside(rng.choice(others), rng)._replace(positive=False))
        else:
            points.append(_outside(scene, index, rng))
    return VisualPrompt(points=tuple(points))


def box_prompt(scene: Labelled, index: int, rng: random.Random) -> VisualPrompt:
    """The object's box as a person would draw it."""
    return VisualPrompt(box=_loosened(scene.shapes[index].box, rng))


def correction(
    scene: Labelled, wrong: npt.NDArray[np.bool_], target: npt.NDArray[np.bool_], rng: random.Random
) -> Point | None:
    """A click on a wrong pixel of the mask; both masks are bool [cells, cells]. None when no pixel is wrong."""
    ys, xs = np.nonzero(wrong)
    if len(ys) == 0:
        return None
    pick = rng.randrange(len(ys))
    cells = target.shape[0]
    x = (xs[pick] + rng.random()) / cells * scene.size.width
    y = (ys[pick] + rng.random()) / cells * scene.size.height
    return Point(x, y, bool(target[ys[pick], xs[pick]]))


def _outside(scene: Labelled, index: int, rng: random.Random) -> Point:
    x0, y0, x1, y1 = scene.shapes[index].box
    for _ in range(20):
        x, y = rng.uniform(0, scene.size.width), rng.uniform(0, scene.size.height)
        if not (x0 <= x <= x1 and y0 <= y <= y1):
            return Point(x, y, False)
    return Point(0.0, 0.0, False)


def _loosened(box: Box, rng: random.Random) -> Box:
    """Each side moved by up to 6 % of the box."""
    x0, y0, x1, y1 = box
    slack_x, slack_y = 0.06 * (x1 - x0), 0.06 * (y1 - y0)
    return (
        x0 + rng.uniform(-slack_x, slack_x),
        y0 + rng.uniform(-slack_y, slack_y),
        x1 + rng.uniform(-slack_x, slack_x),
        y1 + rng.uniform(-slack_y, slack_y),
    )


def concept_samples(scene: Labelled, rng: random.Random, count: int) -> Sequence[ConceptSample]:
    """`count` prompts on one scene: half of them present texts, the rest absent texts and exemplars in turn."""
    makers = [present_text, absent_text, exemplar, present_text]
    return [makers[i % len(makers)](scene, rng) for i in range(count)]
