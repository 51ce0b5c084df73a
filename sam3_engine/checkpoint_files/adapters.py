"""LoRA and DoRA adapters of peft, merged into the weights that they were trained over.

An adapter may have been trained over the package's model or over transformers', whose names differ; its module names
say which.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sam3_engine.checkpoint_files.folders import read_json
from sam3_engine.checkpoint_files.names import from_package
from sam3_engine.checkpoint_files.strangers import some
from sam3_engine.checkpoint_files.tensors import FileTensor, Tensors
from sam3_engine.checkpoint_files.transformers_names import TRANSPOSED, Place, place
from sam3_engine.errors import CheckpointError, WrongCheckpoint

CONFIG = "adapter_config.json"
START = "base_model.model."
FACTORS = re.compile(
    r"(?P<module>.+)\.(?P<factor>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(\.default)?(\.weight)?"
)
"""Names of an adapter's own tensors, as peft writes them."""


def is_adapter(names: Tensors) -> bool:
    """True for the tensor names of an adapter's file: at least one is a factor of a LoRA, as peft names them."""
    return any(FACTORS.fullmatch(name) for name in names)


@dataclass(frozen=True, slots=True)
class Adapter:
    """factors: per module the low-rank factors; whole: tensors that replace the base's (biases, modules_to_save).

    twice: modules whose product peft adds twice, the output projections of torch's MultiheadAttention. It does so in
    training as well, so that these are the weights that were trained.
    """

    path: Path
    config: dict[str, Any]
    factors: dict[str, Tensors]
    whole: Tensors
    twice: frozenset[str] = frozenset()

    def over(self, base: Tensors) -> tuple[Tensors, list[str]]:
        """The weights that the adapter changes, by official name, and the names in it that fit nothing.

        base: weights by official name. Raises WrongCheckpoint where shapes do not fit.
        """
        merged: Tensors = {}
        unknown: list[str] = []
        for module, factors in self.factors.items():
            target = _target(module, base)
            if target is None:
                unknown.append(module)
                continue
            below = merged.get(target.name, base[target.name])
            try:
                merged[target.name] = self._merge(module, factors, below, target)
            except (RuntimeError, KeyError, ValueError, TypeError, re.error) as error:
                raise WrongCheckpoint(
                    f"{self.path}: {module} does not fit {target.name} {list(below.shape)}: {error}"
                ) from error
        for name, tensor in self.whole.items():
            where = _where(name, base)
            if where is None:
                unknown.append(name)
            else:
                merged[where.name] = _replaced(merged.get(where.name, base[where.name]), where, tensor)
        return merged, unknown

    def _merge(self, module: str, factors: Tensors, below: FileTensor, where: Place) -> FileTensor:
        scale = self._scale(module, factors)
        turned = where.name == TRANSPOSED

        def merge(part: torch.Tensor) -> torch.Tensor:
            weight = part.float()
            weight = weight.T if turned else weight
            changed = weight + scale * _product(factors, weight.shape)
            if "lora_magnitude_vector" in factors:
                length = changed.flatten(1).norm(dim=1)
                wanted = factors["lora_magnitude_vector"].read().float().flatten()
                changed = changed * (wanted / length).view(-1, *[1] * (changed.ndim - 1))
            return (changed.T if turned else changed).to(part.dtype)

        _check(factors, below, where, turned)
        return FileTensor(below.shape, below.dtype, lambda: _in_part(below.read(), where, merge))

    def _scale(self, module: str, factors: Tensors) -> float:
        """The factor of a module's low-rank product: alpha / rank, or alpha / sqrt(rank) with `use_rslora`.

        Patterns in the configuration name modules by their end.
        """
        first = factors.get("lora_A") or factors["lora_embedding_A"]
        rank = first.shape[0]
        alpha = self.config.get("lora_alpha", rank)
        for pattern, value in (self.config.get("alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                alpha = value
                break
        times = 2 if module in self.twice else 1
        return times * float(alpha) / (math.sqrt(rank) if self.config.get("use_rslora") else rank)


def read_adapter(path: Path, tensors: Tensors) -> Adapter:
    """The adapter whose tensors these are; its configuration lies beside the file. Raises WrongCheckpoint."""
    try:
        config = read_json(path.parent / CONFIG)
    except OSError as error:
        raise CheckpointError(
            f"{path} is an adapter of peft, and its {CONFIG} is not beside it: {error}"
        ) from error
    except ValueError as error:
        raise WrongCheckpoint(f"{path.parent / CONFIG} is no configuration of peft: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type", "LORA") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else config
        raise WrongCheckpoint(
            f"{path} is an adapter of the type {kind}: only LORA, with or without DoRA, is merged"
        )
    if config.get("lora_bias"):
        raise WrongCheckpoint(f"{path} has biases in its factors (lora_bias), which are not merged")
    factors: dict[str, Tensors] = {}
    whole: Tensors = {}
    twice = set()
    for name, tensor in tensors.items():
        plain = name.removeprefix(START)
        found = FACTORS.fullmatch(plain)
        if found:
            module = found["module"].replace("base_layer.", "").removesuffix(".base_layer")
            factors.setdefault(module, {})[found["factor"]] = tensor
            if found["module"].endswith(".base_layer.out_proj"):
                twice.add(module)
        else:
            whole[plain.replace("base_layer.", "")] = tensor
    return Adapter(path, config, factors, whole, frozenset(twice))


def _where(name: str, base: Tensors) -> Place | None:
    """The place of a tensor that either model names, among the base's."""
    official = from_package(name, multiplex=False)
    for where in (Place(official) if official else None, place(name)):
        if where is not None and where.name in base:
            return where
    return None


def _target(module: str, base: Tensors) -> Place | None:
    # The second is the parameter of torch's MultiheadAttention.
    return _where(f"{module}.weight", base) or _where(f"{module}.in_proj_weight", base)


def _check(factors: Tensors, below: FileTensor, where: Place, turned: bool) -> None:
    """Raises RuntimeError where the factors' product has another shape than the weight, KeyError for a missing one."""
    shape = (below.shape[0] // where.parts, *below.shape[1:])
    shape = shape[::-1] if turned else shape
    empty = {name: FileTensor.of(torch.empty(one.shape, device="meta")) for name, one in factors.items()}
    product = _product(empty, torch.Size(shape))
    if tuple(product.shape) != shape:
        raise RuntimeError(f"the factors make {list(product.shape)}")


def _product(factors: Tensors, shape: torch.Size) -> torch.Tensor:
    """The product of the low-rank factors in a weight's shape, unscaled."""
    if "lora_embedding_A" in factors:
        return (factors["lora_embedding_B"].read().float() @ factors["lora_embedding_A"].read().float()).T
    down, up = factors["lora_A"].read().float(), factors["lora_B"].read().float()
    return (up.flatten(1) @ down.flatten(1)).reshape(shape)


def _in_part(
    whole: torch.Tensor, where: Place, change: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    if where.parts == 1:
        return change(whole)
    parts = list(whole.chunk(where.parts))
    parts[where.part] = change(parts[where.part])
    return torch.cat(parts)


def _replaced(below: FileTensor, where: Place, tensor: FileTensor) -> FileTensor:
    if where.parts == 1:
        one = tensor.changed(lambda value: value.T) if where.name == TRANSPOSED else tensor
        return FileTensor(one.shape, one.dtype, one.read)
    return FileTensor(
        below.shape,
        below.dtype,
        lambda: _in_part(below.read(), where, lambda _: tensor.read().to(below.dtype)),
    )


def unmatched(adapter: Adapter, unknown: list[str]) -> str:
    """The sentence for an adapter of which nothing fits."""
    return f"{adapter.path} is an adapter for another model: it changes {some(unknown)}, which SAM 3 does not have"
