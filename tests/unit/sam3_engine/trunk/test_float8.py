"""Linear layers in float8: their arithmetic, the trunk that has them, and where they are refused."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend

from sam3_engine.device import Precision
from sam3_engine.engine import Engine
from sam3_engine.roles import Role
from sam3_engine.spec import SAM3, TINY
from sam3_engine.trunk.float8 import FLOAT8, LARGEST, Float8Linear, check_float8
from sam3_engine.trunk.vit import Trunk

SIDE = TINY.image_size
GPU = torch.device("cuda:0")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(inputs: int = 64, outputs: int = 48) -> nn.Linear:
    layer = nn.Linear(inputs, outputs).requires_grad_(False)
    layer.weight.copy_(drawn(outputs, inputs) * torch.logspace(-3, 3, outputs)[:, None])
    layer.bias.copy_(drawn(outputs, seed=1))
    return layer


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def emulated(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """The product of values that were rounded to float8 and back, by scales for each row."""

    def rounded(rows: torch.Tensor) -> torch.Tensor:
        scale = rows.abs().amax(1, keepdim=True) / LARGEST
        return (rows / scale).to(FLOAT8).float() * scale

    product: torch.Tensor = rounded(x.flatten(0, -2)) @ rounded(layer.weight).T + layer.bias
    unflattened: torch.Tensor = product.unflatten(0, x.shape[:-1])
    return unflattened


def test_a_product_is_that_of_rounded_values() -> None:
    """Rows and output channels of a million times the size of others are as exact as these."""
    layer, sizes = linear(), torch.logspace(-3, 3, 16)[:, None]
    layer.bias.zero_()  # it would hide the small rows
    x = drawn(2, 16, 64, seed=2) * sizes
    ours = Float8Linear(layer)(x)
    assert (ours.shape, ours.dtype) == ((2, 16, 48), torch.bfloat16)
    of_one_size = sizes * torch.logspace(-3, 3, 48)
    values, wanted, exact = (one.float() / of_one_size for one in (ours, emulated(layer, x), layer(x)))
    for row, channel in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert (values - wanted)[:, row, channel].abs().max() < 5e-3 * exact.abs().max(), (
            "bfloat16 alone rounds it"
        )
    assert 1e-3 < difference(values, exact) < 0.06


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_zeros_stay_the_bias(dtype: torch.dtype) -> None:
    layer = linear()
    ours = Float8Linear(layer)(torch.zeros(3, 64, dtype=dtype))
    assert torch.equal(ours, layer.bias.bfloat16().expand(3, -1))


def test_a_trunk_in_float8_is_near_to_one_in_bfloat16() -> None:
    torch.manual_seed(1)
    state = Trunk(TINY).requires_grad_(False).state_dict()
    pixels = drawn(2, 3, SIDE, SIDE).clamp(-1, 1)
    exact, half, ours = (Trunk.of(TINY, state, dtype) for dtype in (torch.float32, *[torch.bfloat16] * 2))
    ours.use_float8()
    assert not [one for block in ours.blocks for one in block.modules() if isinstance(one, nn.Linear)]
    assert sum(one.dtype == FLOAT8 for one in ours.buffers()) == 4 * TINY.vit_depth
    wanted = exact(pixels)[-1]
    rounding, error = difference(half(pixels)[-1], wanted), difference(ours(pixels)[-1], wanted)
    assert rounding < error < 0.1


@pytest.fixture
def no_graphs() -> Iterator[None]:
    """No graphs of other tests, before and after."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_its_blocks_compile_as_others_do(no_graphs: None) -> None:
    made: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> object:
        made.append(graph)
        return graph.forward

    trunk = Trunk.of(TINY, Trunk(TINY).state_dict(), torch.bfloat16)
    trunk.use_float8()
    pixels = drawn(1, 3, SIDE, SIDE)
    before = trunk(pixels)[-1]
    trunk.compile_blocks(backend)
    assert difference(trunk(pixels)[-1], before) < 0.01
    assert len(made) == 2


def test_at_full_size_on_a_gpu_shapes_and_types_are_those_that_cuda_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sam3_engine.trunk.attention.backends", lambda device: [SDPBackend.MATH])
    shallow = replace(SAM3, vit_depth=2, vit_global_blocks=(1,))
    with FakeTensorMode(), torch.inference_mode(), torch.device("cuda"):
        trunk = Trunk.of(shallow, Trunk(shallow).state_dict(), torch.bfloat16)
        trunk.use_float8()
        (features,) = trunk(torch.empty(2, 3, SAM3.image_size, SAM3.image_size))
    assert (features.device.type, features.dtype) == ("cuda", torch.float32)
    assert features.shape == (2, SAM3.vit_dim, SAM3.grid, SAM3.grid)


@pytest.mark.parametrize(
    ("device", "dtype", "capability", "why"),
    [
        ("cuda", torch.float32, (9, 0), "needs the dtype bfloat16"),
        ("cpu", torch.bfloat16, (9, 0), "which runs on 'cpu'"),
        ("cuda", torch.bfloat16, (8, 0), r"8\.9 \(Ada, Hopper\) or later: this one has 8\.0"),
        ("cuda", torch.float16, (7, 5), r"this one has 7\.5"),
    ],
)
def test_it_is_refused_where_nothing_multiplies_it(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    dtype: torch.dtype,
    capability: tuple[int, int],
    why: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    with pytest.raises(ValueError, match=why):
        check_float8(torch.device(device), dtype)


@pytest.mark.parametrize("capability", [(8, 9), (9, 0), (12, 0)])
def test_it_is_let_in_where_the_gpu_has_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    check_float8(GPU, torch.bfloat16)


def test_an_engine_on_a_cpu_refuses_it(random_engine: Engine) -> None:
    state = random_engine.model.state_dict()
    with pytest.raises(ValueError, match="needs the dtype bfloat16"):
        Engine.from_state(state, TINY, device="cpu").use_float8()
    encoder = Engine.from_state(state, TINY, role="encoder", device="cpu", dtype="bfloat16")
    encoder.precision = Precision(torch.bfloat16, torch.bfloat16, torch.float32, torch.float32)
    with pytest.raises(ValueError, match="runs on 'cpu'"):
        encoder.use_float8()


def test_a_decoder_reads_embeddings_of_such_an_encoder_alone(
    random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the decoder runs. The encoder's other forms of its weights are gone."""
    monkeypatch.setattr("sam3_engine.engine.check_float8", lambda *_: None)
    state = random_engine.model.state_dict()

    def made(role: Role) -> Engine:
        return Engine.from_state(state, TINY, role=role, device="cpu", dtype="bfloat16")

    plain, encoder, decoder = made("decoder"), made("encoder"), made("decoder")
    encoder.use_float8()
    decoder.use_float8()
    assert encoder.embedding_version == decoder.embedding_version != plain.embedding_version
    assert decoder.version != plain.version
    assert decoder.expand(encoder.sample()).image.trunk.shape[1] == TINY.vit_dim
    blocks = encoder.model.backbone.vision_backbone.trunk.blocks
    assert all(one.is_meta for one in blocks.parameters())
    pixels = torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8).numpy()
    assert decoder.expand(encoder.encode([pixels])[0]).image.trunk.isfinite().all()
