import pytest
import torch
from torch import nn

from sam3_engine.errors import WrongCheckpoint
from sam3_engine.weights import apply, model_keys, weights_digest


class Model(nn.Module):
    """Named like the parts of Sam3Image."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(3, 4)
        self.inst_interactive_predictor = nn.Module()
        self.inst_interactive_predictor.model = nn.Linear(2, 2)
        self.register_buffer("freqs_cis", torch.arange(3.0))


def official(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's tensors as the official file names them, moved by one so that loading shows."""
    interactive = "inst_interactive_predictor.model."
    return {
        f"tracker.{key.removeprefix(interactive)}"
        if key.startswith(interactive)
        else f"detector.{key}": value + 1
        for key, value in model.state_dict().items()
    }


def test_an_official_state_is_applied() -> None:
    model = Model()
    state = official(model) | {"tracker.memory_encoder.weight": torch.zeros(5)}
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert apply(model, state) == ["inst_interactive_predictor.model.memory_encoder.weight"]
    assert all(torch.equal(value, before[key] + 1) for key, value in model.state_dict().items())


def test_a_state_with_the_models_names_is_applied() -> None:
    model, other = Model(), Model()
    assert apply(model, other.state_dict()) == []
    assert torch.equal(model.backbone.weight, other.backbone.weight)


def test_names_are_those_of_the_packages_loader() -> None:
    one = torch.ones(1)
    state = {"detector.backbone.weight": one, "tracker.no_mem_embed": one, "something.else": one}
    assert set(model_keys(state)) == {"backbone.weight", "inst_interactive_predictor.model.no_mem_embed"}


def test_half_precision_goes_into_a_float_model() -> None:
    model = Model()
    apply(model, {key: value.half() for key, value in official(model).items()})
    assert model.backbone.weight.dtype == torch.float32


def test_computed_buffers_may_be_left_out() -> None:
    model = Model()
    state = official(model)
    del state["detector.freqs_cis"]
    apply(model, state)
    assert isinstance(model.freqs_cis, torch.Tensor)
    assert torch.equal(model.freqs_cis, torch.arange(3.0))


def test_missing_keys_are_named_and_nothing_is_changed() -> None:
    model = Model()
    state = official(model)
    del state["detector.backbone.bias"], state["tracker.weight"]
    before = model.backbone.weight.clone()
    with pytest.raises(
        WrongCheckpoint, match=r"lacks 2 of the model's 5 tensors: backbone\.bias, inst_interactive"
    ):
        apply(model, state)
    assert torch.equal(model.backbone.weight, before)


def test_only_the_first_keys_are_named() -> None:
    with pytest.raises(
        WrongCheckpoint, match=r"lacks 20 of .*: 0\.weight, 0\.bias, 1\.weight, 1\.bias, \.\.\.\."
    ):
        apply(nn.Sequential(*[nn.Linear(1, 1) for _ in range(10)]), {})


def test_other_shapes_are_named_and_nothing_is_changed() -> None:
    model = Model()
    state = official(model) | {"detector.backbone.weight": torch.zeros(7, 3)}
    before = model.backbone.bias.clone()
    with pytest.raises(WrongCheckpoint, match=r"backbone\.weight is \[7, 3\] instead of \[4, 3\]"):
        apply(model, state)
    assert torch.equal(model.backbone.bias, before)


def large() -> nn.Module:
    torch.manual_seed(0)
    model = Model()
    model.matrix = nn.Linear(300, 300)
    model.table = nn.Parameter(torch.ones(70, 70, dtype=torch.bfloat16))
    model.register_buffer("steps", torch.tensor(3))
    return model


@pytest.mark.parametrize("name", [name for name in large().state_dict() if name != "freqs_cis"])
@pytest.mark.parametrize("place", [0, -1])
def test_one_changed_value_of_any_tensor_is_another_version(name: str, place: int) -> None:
    model = large()
    before = weights_digest(model.state_dict())
    assert before == weights_digest(large().state_dict())
    with torch.no_grad():
        model.state_dict()[name].reshape(-1)[place] += 1
    assert weights_digest(model.state_dict()) != before


def test_computed_buffers_are_not_part_of_the_version() -> None:
    model = large()
    before = weights_digest(model.state_dict())
    model.state_dict()["freqs_cis"].add_(1)
    assert weights_digest(model.state_dict()) == before
