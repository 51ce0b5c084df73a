"""The models of `SAM3_MODELS`: their form, and where they are read from. The ingress imports this module: no torch, no
Ray."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

Architecture = Literal["tiny", "sam3", "tiny-random"]
DEFAULT_MODEL_ID = "sam3/sam3_final"
"""The id of the hosted model, and of requests that name none: it stands for the default model."""
MODEL_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9._-]{1,100}){0,2}$"
ModelId = Annotated[str, Field(pattern=MODEL_ID)]
SOURCE = "SAM3_MODELS"
INLINE = re.compile(r"[\n{]|:\s|^#")
"""Text that has one of these is the models themselves, unless it is the path of a file. Any other text is a path."""


class ModelEntry(BaseModel):
    """One model of the file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,  # `replicas: true` is no number
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    checkpoint: str | None = None
    """Weights, named like `SAM3_CHECKPOINT`. Empty: the architecture's own."""
    base: str | None = None
    """Weights that a fine-tune or an adapter is laid over, named like `SAM3_BASE_CHECKPOINT`."""
    architecture: Architecture = "sam3"
    """`sam3`, or `tiny`."""
    aliases: tuple[ModelId, ...] = Field((), strict=False)
    """Further values of `model_id` that choose it."""
    replicas: int = Field(1, ge=0)
    """Decoders that are always warm. 0: the model sleeps until somebody asks for it."""
    max_replicas: int | None = Field(None, ge=1)
    """Most decoders under load. Empty: as many as are warm."""
    sleep_after_s: float | None = Field(None, gt=0)
    """Seconds without a request after which all of its replicas are stopped. Empty: `SAM3_SCALE_TO_ZERO_AFTER_S`; where
    that is 0, a model with `replicas: 0` sleeps after 300 s, and others never."""
    output_prob_thresh: float | None = Field(None, ge=0, le=1)
    """Score threshold of requests that name none. Empty: 0.5."""
    default: bool = False
    """True for the model that answers requests without a `model_id`: one of several has to be it."""
    pinned: bool = False
    """True: it never sleeps, and the server is ready only with it."""
    trunk: ModelId | None = None
    """The model whose image encoder it shares, for weights that the process that deploys cannot read."""


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a mapping with a key twice, of which YAML's own loader keeps the last. A key beside `<<` takes the place
    of a merged one, as YAML says."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        twice = [key for key, count in keys.items() if count > 1]
        if twice:
            raise yaml.composer.ComposerError(
                problem=f"{twice[0]!r} is there twice", problem_mark=node.start_mark
            )
        return node


_ENTRIES: TypeAdapter[dict[ModelId, ModelEntry]] = TypeAdapter(dict[ModelId, ModelEntry])


def read_models(value: object) -> dict[str, ModelEntry]:
    """The models of a setting: the path of a YAML file, YAML or JSON itself, or a mapping. Raises ValueError, which
    names the file, the model and the key."""
    origin, document = SOURCE, value
    if isinstance(value, str | Path):
        text = str(value)
        path = text.strip()
        in_file = bool(path) and _is_path(path)
        if in_file:
            origin = path
            try:
                text = _expanded(path).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                raise ValueError(f"{origin} is not valid UTF-8") from None
            except OSError as error:
                raise ValueError(f"{origin} cannot be read: {error.strerror or error}") from None
        try:
            document = yaml.load(text, _UniqueKeys)  # noqa: S506 - a safe loader
        except (yaml.YAMLError, ValueError) as error:  # such as a day that no calendar has
            raise ValueError(f"{origin} is not YAML: {_of_yaml(error)}") from None
        except RecursionError:
            raise ValueError(f"{origin} is nested too deeply") from None
        document = {} if document is None else document
        if in_file and document == {}:
            raise ValueError(
                f"{origin} has no model: add one, or leave {SOURCE} empty for the one of SAM3_MODEL"
            )
    if not isinstance(document, Mapping):
        raise ValueError(f"{origin} must map names to models")
    try:
        entries = _ENTRIES.validate_python(dict(document))
        _check(entries)
    except ValidationError as error:
        raise ValueError(f"{origin}: {_first(error)}") from None
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from None
    return entries


def _of_yaml(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def _is_path(text: str) -> bool:
    """Whether a text is the path of a file, which may have `: ` in it, and not the models themselves."""
    if not INLINE.search(text):
        return True
    one_line = "\n" not in text and "{" not in text
    return one_line and (text.lower().endswith((".yaml", ".yml", ".json")) or os.path.isfile(_expanded(text)))  # noqa: PTH113 - for a text of any length


def _expanded(text: str) -> Path:
    """The path with the home folder. The `~` of a user who is not there stays, at which `Path` would raise."""
    return Path(os.path.expanduser(text))  # noqa: PTH111


_WORDS = {
    "model_type": "its keys and values are expected",
    "model_attributes_type": "its keys and values are expected",
    "string_type": "a text is expected",
    "int_type": "a whole number is expected",
    "int_from_float": "a whole number is expected",
    "float_type": "a number is expected",
    "finite_number": "a finite number is expected",
    "bool_type": "true or false is expected",
    "tuple_type": "a list is expected",
    "literal_error": "{expected} is expected",
    "greater_than": "a number above {gt:g} is expected",
    "greater_than_equal": "at least {ge:g} is expected",
    "less_than_equal": "at most {le:g} is expected",
    "string_pattern_mismatch": "it is no name of a model, which looks like 'cars' or 'workspace/project/3'",
}
"""Pydantic's kinds of errors. `{...}`: of what it knows of one."""


def _first(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False)[0]
    name, *keys = map(str, found["loc"])
    if "[key]" in keys:
        return f"{name!r} is no name of a model: it looks like 'cars' or 'workspace/project/3'"
    where = f"model {name!r}" + (f", {'.'.join(keys)}" if keys else "")
    return f"{where}: {_in_words(found)}"


def _in_words(found: ErrorDetails) -> str:
    if found["type"] in ("extra_forbidden", "invalid_key"):
        return f"there is no such key, but {', '.join(ModelEntry.model_fields)}"
    words = _WORDS.get(found["type"])
    return words.format(**found.get("ctx", {})) if words else found["msg"]


def _check(entries: Mapping[str, ModelEntry]) -> None:
    if sum(entry.default for entry in entries.values()) > 1:
        raise ValueError("more than one model is the default")
    default = default_of(entries)
    if entries and not default:  # the order does not say it: Helm sorts names
        raise ValueError("no model is the default: mark one with `default: true`")
    ids = Counter([*entries, *(alias for entry in entries.values() for alias in entry.aliases)])
    for name, entry in entries.items():
        for model_id in (name, *entry.aliases):
            if ids[model_id] > 1:
                raise ValueError(f"model {name!r}: the name {model_id!r} is there twice")
            if model_id == DEFAULT_MODEL_ID and name != default:
                raise ValueError(f"model {name!r}: {model_id!r} is the default model's, which is {default!r}")
        if entry.pinned and (entry.replicas == 0 or entry.sleep_after_s):
            raise ValueError(f"model {name!r}, pinned: a pinned model does not sleep")
        if name == default and entry.replicas == 0:
            raise ValueError(f"model {name!r}, replicas: the default model has at least 1")
        if entry.max_replicas is not None and entry.max_replicas < entry.replicas:
            raise ValueError(f"model {name!r}, max_replicas: fewer than replicas")
        _check_trunk(name, entry, entries)


def _check_trunk(name: str, entry: ModelEntry, entries: Mapping[str, ModelEntry]) -> None:
    if entry.trunk is None:
        return
    other = entries.get(entry.trunk)
    if other is None or other is entry:
        raise ValueError(f"model {name!r}, trunk: there is no other model {entry.trunk!r}")
    if other.trunk is not None:
        raise ValueError(f"model {name!r}, trunk: {entry.trunk!r} shares that of {other.trunk!r}: name it")
    if other.architecture != entry.architecture:
        raise ValueError(f"model {name!r}, trunk: {entry.trunk!r} has another architecture")


def default_of(entries: Mapping[str, ModelEntry]) -> str:
    """The name of the default model: the marked one, or the only one. Empty where there is none."""
    marked = [name for name, entry in entries.items() if entry.default]
    return next(iter(marked or (entries if len(entries) == 1 else ())), "")
