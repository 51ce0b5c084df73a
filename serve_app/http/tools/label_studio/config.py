"""The labelling configuration of a project: which tools it has, which labels they give, which images they are about.

<BrushLabels name="mask" toName="image">
  <Label value="Car"/>                                the model looks for "Car"
  <Label value="Pole" sam3_phrase="lamp post"/>       ... for "lamp post"
</BrushLabels>
<PolygonLabels name="outline" toName="image" sam3_model="pets">...    another model than the default one
<KeyPointLabels name="click" toName="image" smart="true">...
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from serve_app.http.errors import InvalidRequest
from serve_app.http.schemas import MAX_TEXT_CHARACTERS

Kind = Literal["brushlabels", "polygonlabels", "rectanglelabels"]
KINDS: dict[str, Kind] = {
    "BrushLabels": "brushlabels",
    "PolygonLabels": "polygonlabels",
    "RectangleLabels": "rectanglelabels",
}
"""Tools whose regions the model can make, by their tag."""
MOST_CHARACTERS = 1_000_000
MOST_LABELS = 256


@dataclass(frozen=True, slots=True)
class Control:
    """A tool that makes regions. labels: the phrase to look for, by the name that a region carries. threshold: the
    least score of suggestions; None: the model's. model: the `model_id` to ask; None: the default."""

    kind: Kind
    name: str
    to_name: str
    smart: bool
    labels: dict[str, str]
    threshold: float | None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """The tools in the configuration's order, and the key of a task's data that each image has."""

    controls: tuple[Control, ...]
    images: dict[str, str]

    def makers(self) -> list[tuple[Control, str]]:
        """The tools and labels of suggestions. A smart tool is one for prompts: it gets regions only for labels that no
        other tool has."""
        plain = {label for control in self.controls if not control.smart for label in control.labels}
        return [
            (control, label)
            for control in self.controls
            for label in control.labels
            if not control.smart or label not in plain
        ]

    def maker(self, label: str | None, image: str | None) -> tuple[Control, str]:
        """The tool and label of a prompted region: those of this label and image if there are any. Raises
        InvalidRequest."""
        found = [one for one in self.makers() if image is None or one[0].to_name == image]
        named = [one for one in found if one[1] == label]
        if not found:
            raise _error("it has no BrushLabels, PolygonLabels or RectangleLabels for this image")
        return (named or found)[0]


def parse_config(text: str) -> LabelConfig:
    """Read a configuration. Raises InvalidRequest."""
    if len(text) > MOST_CHARACTERS:
        raise _error(f"it has more than {MOST_CHARACTERS} characters")
    if "<!DOCTYPE" in text.upper():
        raise _error("it declares a document type")
    try:
        root = ET.fromstring(text)  # noqa: S314 - see above
    except (ET.ParseError, ValueError):
        raise _error("it is not XML") from None
    images = {
        tag.get("name", ""): tag.get("value", "").removeprefix("$")
        for tag in root.iter("Image")
        if tag.get("value", "").startswith("$")
    }
    controls = tuple(_controls(root, images))
    if sum(len(control.labels) for control in controls) > MOST_LABELS:
        raise _error(f"it has more than {MOST_LABELS} labels")
    return LabelConfig(controls, images)


def _controls(root: ET.Element, images: dict[str, str]) -> Iterator[Control]:
    for tag in root.iter():
        kind = KINDS.get(tag.tag)
        name, to_name = tag.get("name", ""), tag.get("toName", "")
        if kind is None or to_name not in images:
            continue
        labels = {}
        for child in tag.iter("Label"):
            value = child.get("value", "")
            # Label Studio names a region by its label's alias, where there is one.
            label = child.get("alias") or value
            phrase = child.get("sam3_phrase") or label
            if phrase.strip():
                labels[label] = phrase.strip()[:MAX_TEXT_CHARACTERS]
        smart, model = tag.get("smart") == "true", tag.get("sam3_model") or None
        yield Control(kind, name, to_name, smart, labels, _threshold(tag), model)


def _threshold(tag: ET.Element) -> float | None:
    """The attribute that Label Studio's own back ends read."""
    text = tag.get("model_score_threshold")
    if text is None:
        return None
    try:
        threshold = float(text)
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold <= 1:
        raise _error("a model_score_threshold is not a number from 0 to 1")
    return threshold


def _error(what: str) -> InvalidRequest:
    return InvalidRequest.one(f"the labelling configuration cannot be used: {what}", "label_config")
