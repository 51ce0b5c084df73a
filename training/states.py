"""Training states: the moving average of the weights, files to resume from, and a usable model of such a file."""

from pathlib import Path

import torch
from sam3.model.sam3_image import Sam3Image
from torch import nn

from sam3_engine.assembly import build_model
from sam3_engine.bundled import TOKEN_TABLE
from sam3_engine.spec import TINY
from training.optimizers import Optimizers
from training.tokens import compact_embedding


class Average:
    """The moving average of a module's floating-point parameters and buffers."""

    def __init__(self, module: nn.Module) -> None:
        state = {name: value for name, value in module.state_dict().items() if value.is_floating_point()}
        self._followed = list(state.values())  # these share the module's memory
        self.state = {name: value.detach().clone() for name, value in state.items()}

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the average towards the module's present values: by 1 - decay of the way."""
        torch._foreach_lerp_(list(self.state.values()), self._followed, 1 - decay)

    @torch.no_grad()
    def load(self, state: dict[str, torch.Tensor]) -> None:
        for name, value in self.state.items():
            value.copy_(state[name])


def last(path: Path) -> tuple[int, float]:
    """The step that the last state was saved after, and the seconds of training until then."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True, map_location="cpu")
    return int(state["step"]), float(state["seconds"])


def resume(path: Path, module: nn.Module, optimizers: Optimizers, average: Average) -> None:
    """Load the last state in place. Raises ValueError for a state of a run that trained other parts."""
    state = torch.load(path, weights_only=True, map_location="cpu")
    module.load_state_dict(state["model"])
    try:
        optimizers.load(state["optimizers"])
    except ValueError as error:
        raise ValueError(
            f"the run in {path.parent} trained other parts: give this one another folder"
        ) from error
    average.load(state["average"])


def save(
    path: Path,
    step: int,
    seconds: float,
    module: nn.Module,
    optimizers: Optimizers,
    average: Average,
) -> None:
    """Write a state under another name, then rename it: an interruption leaves the last state complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    state = {
        "step": step,
        "seconds": seconds,
        "model": module.state_dict(),
        "optimizers": optimizers.state(),
        "average": average.state,
    }
    torch.save(state, fresh)
    fresh.replace(path)


def averaged_model(state_path: Path) -> Sam3Image:
    """The model with the moving average of a training state's weights and a whole token table.

    Raises ValueError when the state is of another model.
    """
    model = build_model(TINY, video=True)
    compact = compact_embedding(model)
    average = torch.load(state_path, weights_only=True, map_location="cpu")["average"]
    weights = {
        name.removeprefix("model."): value for name, value in average.items() if name.startswith("model.")
    }
    compact.load_state_dict({"weight": weights[TOKEN_TABLE]})
    weights[TOKEN_TABLE] = compact.table()
    incompatible = model.load_state_dict(weights, strict=False)
    if incompatible.unexpected_keys:
        raise ValueError(f"not a state of this model: {incompatible.unexpected_keys[:3]}")
    return model
