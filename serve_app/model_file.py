"""The models of `SAM3_MODELS`: their form, and where they are read from. The ingress imports this module: no torch, no
Ray."""

import re
from collections import Counter
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Architecture = Literal["tiny", "sam3", "tiny-random"]
DEFAULT_MODEL_ID = "sam3/sam3_final"
"""The id of the hosted model, and of requests that name none: it stands for the default model."""
MODEL_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9._-]{1,100}){0,2}$"
ModelId = Annotated[str, Field(pattern=MODEL_ID)]
SOURCE = "SAM3_MODELS"
INLINE = re.compile(r"[\n{]|:\s|^#")
"""Text that has one of these is the models themselves; any other text is a path."""


class ModelEntry(BaseModel):
    """One model of the file."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    checkpoint: str | None = None
    """Weights, named like `SAM3_CHECKPOINT`. Empty: the architecture's own."""
    base: str | None = None
    """Weights that a fine-tune or an adapter is laid over, named like `SAM3_BASE_CHECKPOINT`."""
    architecture: Architecture = "sam3"
    """`sam3`, or `tiny`."""
    aliases: tuple[ModelId, ...] = ()
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
    """Refuses a mapping with a key twice, of which YAML's own loader keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for key, count in Counter(map(str, keys)).items() if count > 1]
        if twice:
            raise yaml.constructor.ConstructorError(problem=f"{twice[0]!r} is there twice")
        return super().construct_mapping(node, deep)


_ENTRIES: TypeAdapter[dict[ModelId, ModelEntry]] = TypeAdapter(dict[ModelId, ModelEntry])


def read_models(value: object) -> dict[str, ModelEntry]:
    """The models of a setting: the path of a YAML file, YAML or JSON itself, or a mapping. Raises ValueError, which
    names the file, the model and the key."""
    origin, document = SOURCE, value
    if isinstance(value, str | Path):
        text = str(value).strip()
        if text and not INLINE.search(text):
            origin = text
            try:
                text = Path(text).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{origin} cannot be read: {error}") from None
        try:
            document = yaml.load(text, _UniqueKeys) or {}  # noqa: S506 - a safe loader
        except yaml.YAMLError as error:
            raise ValueError(f"{origin} is not YAML: {error}") from None
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


def _first(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False)[0]
    name, *keys = map(str, found["loc"])
    if keys == ["[key]"]:
        return f"{name!r} is no name of a model: it looks like 'cars' or 'workspace/project/3'"
    where = f"model {name!r}" + (f", {'.'.join(keys)}" if keys else "")
    return f"{where}: {found['msg']}"


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
