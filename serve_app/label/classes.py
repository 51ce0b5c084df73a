"""The classes to label: their names, the phrases that find them, and their thresholds.

A line of a file of classes is a name, alone or with more:

    traffic cone
    car: car | van | pickup truck          # several phrases find one class
    dog: dog | !toy dog                    # an object that is rather a toy dog is left out
    person @0.35                           # a threshold of its own

In a file, `#` at the beginning of a line or after a space begins a comment, and `\\#` is the character. On the command
line `#` is a character as any other.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sam3_engine.prompt_values import share, utf8
from serve_app.label.texts import fits

_THRESHOLD = re.compile(r"\s@\s*(?P<value>\S*)$")
_COMMENT = re.compile(r"(^|\s)#.*$")
_HASH = re.compile(r"(?<!\S)#")
MOST_CHARACTERS = 200
"""Of a name or a phrase."""
FLOOR = 0.05
"""Least score that is looked at where answers are compared with the truth."""


@dataclass(frozen=True, slots=True)
class LabelClass:
    """A class. phrases: texts that find its objects. negatives: texts of what it is not. threshold: least score."""

    name: str
    phrases: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    threshold: float = 0.5

    def __post_init__(self) -> None:
        texts = (self.name, *self.phrases, *self.negatives)
        if not self.phrases:
            raise ValueError(f"class {self.name!r} has no phrase that finds it")
        for text in texts:
            utf8(text, f"a text of class {self.name!r}")
            if not text or not fits(text) or text != text.strip() or len(text) > MOST_CHARACTERS:
                raise ValueError(
                    f"class {self.name!r}: {text[:40]!r} is not a text of 1 to {MOST_CHARACTERS} characters, "
                    "none of them a control character"
                )
        if len({*texts[1:]}) < len(texts) - 1:
            raise ValueError(f"class {self.name!r} names a phrase twice")
        share(self.threshold, f"the threshold of class {self.name!r}")

    def line(self) -> str:
        """The class as a line of a file."""
        phrases = " | ".join([*self.phrases, *(f"!{text}" for text in self.negatives)])
        return _HASH.sub(r"\\#", f"{self.name}: {phrases} @{self.threshold:.4g}")


def parse_class(line: str, threshold: float) -> LabelClass:
    """The class of one line. threshold: for a line without its own. Raises ValueError."""
    text = line.strip()
    if found := _THRESHOLD.search(text):
        text = text[: found.start()].strip()
        try:
            threshold = float(found["value"])
        except ValueError:
            what = repr(found["value"]) if found["value"] else "nothing"
            raise ValueError(f"{line.strip()!r}: a threshold is expected behind @, not {what}") from None
    name, _, rest = (part.strip() for part in text.partition(":"))
    return class_of(name, rest, threshold)


def class_of(name: str, words: str, threshold: float) -> LabelClass:
    """The class of a name. words: its phrases, parted by `|`; none where the name is the phrase. Raises ValueError."""
    phrases = [phrase.strip() for phrase in words.split("|")] if words else [name]
    positive = tuple(phrase for phrase in phrases if not phrase.startswith("!"))
    negative = tuple(phrase[1:].strip() for phrase in phrases if phrase.startswith("!"))
    return LabelClass(name, positive or (name,), negative, threshold)


@dataclass(frozen=True, slots=True)
class ClassLine:
    """A class as somebody wrote it. where: its place, for messages."""

    text: str
    where: str = ""


def file_lines(path: Path) -> Iterator[ClassLine]:
    """The classes of a file, without its comments. Raises OSError, and ValueError for a file that is not UTF-8."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not valid UTF-8") from None
    for number, line in enumerate(content.split("\n"), 1):
        if text := _COMMENT.sub("", line).strip():
            yield ClassLine(text.replace("\\#", "#"), f"{path}, line {number}")


def parse_classes(lines: Iterable[str | ClassLine], threshold: float) -> list[LabelClass]:
    """The classes of lines, in their order, which gives their numbers in every format.

    Raises ValueError for a class that is no class, for one that is there twice, and where there is none.
    """
    classes = []
    names: Counter[str] = Counter()
    for line in lines:
        one = line if isinstance(line, ClassLine) else ClassLine(line)
        where = f"{one.where}: " if one.where else ""
        try:
            made = parse_class(one.text, threshold)
        except ValueError as error:
            raise ValueError(f"{where}{error}") from None
        names[made.name.casefold()] += 1
        if names[made.name.casefold()] > 1:
            raise ValueError(f"{where}class {made.name!r} is there twice")
        classes.append(made)
    if not classes:
        raise ValueError("there is no class")
    return classes
