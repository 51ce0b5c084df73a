"""How the labels of a data set are made, as its manifest keeps it; and what differs between two ways."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel

from serve_app.label.classes import LabelClass
from serve_app.label.labeller import ModelChoice
from serve_app.label.objects import Rules


@dataclass(frozen=True, slots=True)
class Labelling:
    """All that decides about the labels."""

    classes: Sequence[LabelClass]
    choice: ModelChoice
    rules: Rules

    def document(self) -> dict[str, Any]:
        """What the manifest keeps: all that decides about the labels, and nothing about the machine."""
        classes = {
            one.name: {
                "phrases": list(one.phrases),
                "negatives": list(one.negatives),
                "threshold": one.threshold,
            }
            for one in self.classes
        }
        return {"model": self.choice.model, "classes": classes, **asdict(self.rules)}


class Rule(BaseModel, strict=True):
    """A class, as a document has it."""

    phrases: list[str]
    negatives: list[str]
    threshold: float


class Document(BaseModel, strict=True):
    """The form of `Labelling.document`."""

    model: str
    classes: dict[str, Rule]
    nms: float | None
    smallest: int


class Manifest(BaseModel, strict=True):
    """What a later run reads of the manifest of a data set."""

    labels: Document
    images_per_second: float | None = None
    weights: str | None = None


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each thing that decides about labels and is not as it was. Both: `Labelling.document`."""
    found = [
        f"{name}: {_shown(before.get(name))} before, {_shown(now.get(name))} now"
        for name in ("model", "nms", "smallest")
        if before.get(name) != now.get(name)
    ]
    return [*found, *_classes(before.get("classes", {}), now["classes"])]


def _classes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in before:
        if name not in now:
            yield f"class {name!r} is not there any more"
    for name, rule in now.items():
        if name not in before:
            yield f"class {name!r} is new"
            continue
        for field, value in rule.items():
            if before[name].get(field) != value:
                yield f"class {name!r}: {field} {_shown(before[name].get(field))} before, {_shown(value)} now"
    if list(before) != list(now) and set(before) == set(now):
        yield "the order of the classes, which gives their numbers"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " | ".join(map(str, value)) or "none"
    return "off" if value is None else str(value)
