"""Graphs of the trunk's blocks, counted, and the trunk on a GPU that is not there."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._inductor.runtime.cache_dir_utils import cache_dir
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend
from torch.utils._python_dispatch import TorchDispatchMode

from sam3_engine.spec import SAM3, TINY
from sam3_engine.trunk.rope import rotate, table
from sam3_engine.trunk.vit import Trunk

SIDE = TINY.image_size


@pytest.fixture
def no_graphs() -> Iterator[None]:
    """No graphs of other tests, before and after."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def pixels(images: int) -> torch.Tensor:
    return torch.rand(images, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_each_batch_size_has_two_graphs_however_many_blocks(no_graphs: None) -> None:
    made: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> Callable[..., Any]:
        made.append(graph)
        return graph.forward

    torch.manual_seed(0)
    trunk = Trunk(TINY).requires_grad_(False)
    before = {images: trunk(pixels(images))[-1] for images in (1, 2, 3)}
    trunk.compile_blocks(backend)
    graphs = []
    for images, wanted in before.items():
        torch.testing.assert_close(trunk(pixels(images))[-1], wanted, rtol=1e-4, atol=1e-5)
        graphs.append(len(made))
    assert graphs == [2, 4, 4]  # three images are a batch of two and one of one


def test_compiled_code_goes_to_the_folder_that_is_given(
    no_graphs: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    Trunk(TINY).compile_blocks(cache=str(tmp_path))
    assert cache_dir() == str(tmp_path)


def test_without_a_c_compiler_it_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sam3_engine.trunk.vit.COMPILERS", ("no-such-program",))
    trunk = Trunk(TINY)
    trunk.compile_blocks()
    assert "no C compiler" in caplog.text
    assert not any("forward" in vars(block) for block in trunk.blocks)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_real_numbers_rotate_as_complex_ones_bit_by_bit(no_graphs: None, dtype: torch.dtype) -> None:
    """A GPU and compiled graphs use the real ones."""
    by = table(8, 32, 1.0)
    x = torch.randn(2, 64, 2, 3, 32, generator=torch.Generator().manual_seed(1)).to(dtype)
    in_graph = torch.compile(rotate, backend="eager", fullgraph=True)
    assert torch.equal(in_graph(x, by), rotate(x, by))


class Operations(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.name()] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_on_a_gpu_of_the_official_size_every_step_is_of_the_right_type_and_place(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    # The choice among the others asks the driver.
    monkeypatch.setattr("sam3_engine.trunk.attention.backends", lambda device: [SDPBackend.MATH])
    shallow = replace(SAM3, vit_depth=4, vit_global_blocks=(1, 3))
    with FakeTensorMode(), torch.inference_mode():
        with torch.device("cuda"):
            trunk = Trunk.of(shallow, Trunk(shallow).state_dict(), dtype)
            images = torch.empty(2, 3, SAM3.image_size, SAM3.image_size)
        operations = Operations()
        trunk(images)  # moves its tables to the device
        with operations, torch.autocast("cuda", dtype=torch.bfloat16):
            (features,) = trunk(images)
    assert features.device.type == "cuda"
    assert features.dtype == torch.float32
    assert features.shape == (2, SAM3.vit_dim, SAM3.grid, SAM3.grid)
    waits = {
        name for name in operations.counts if "item" in name or "_local_scalar" in name or "nonzero" in name
    }
    assert not waits
