"""The phrases that the classes of a ground truth are asked for by."""

from collections.abc import Callable, Sequence

from serve_app.label.classes import FLOOR, LabelClass, class_of
from serve_app.label.truth import Truth


def questions(
    truths: Sequence[Truth], prompts: Sequence[str], note: Callable[[str], None]
) -> list[LabelClass]:
    """The classes to ask for, with the threshold FLOOR, below which AP looks at nothing.

    truths: of the whole file. prompts: `CLASS=WORDS` each, in place of the class's name. note: told of classes that are
    left out, for want of annotations, and of names that are asked for in another form. Raises ValueError.
    """
    words: dict[str, str] = {}
    names = list(truths[0].masks)
    for text in prompts:
        name, equals, rest = (part.strip() for part in text.partition("="))
        if not equals or not name or not rest:
            raise ValueError(f"--prompt {text!r}: write CLASS=WORDS")
        if name not in names:
            raise ValueError(f"--prompt {text!r}: there is no class {name!r} but {', '.join(names)[:200]}")
        if name in words:
            raise ValueError(f"--prompt {text!r}: the class has words already")
        words[name] = rest
    annotated = {name for one in truths for masks in (one.masks, one.crowds) for name in masks if masks[name]}
    if not annotated:
        raise ValueError("the ground truth has no annotation")
    kept = []
    for name in names:
        if name not in annotated and name not in words:
            note(
                f"class {name!r} has no annotation and is left out; --prompt {name!r}=WORDS asks for it all the same"
            )
            continue
        if name not in words and "_" in name:
            words[name] = " ".join(name.replace("_", " ").split())
            note(f"class {name!r} is asked for as {words[name]!r}")
        kept.append(class_of(name, words.get(name, ""), FLOOR))
    return kept
