"""The whole trunk: patches, positions, blocks."""

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from sam3_engine.spec import ModelSpec
from sam3_engine.trunk.attention import kernels
from sam3_engine.trunk.block import GlobalBlock, WindowedBlock
from sam3_engine.trunk.float8 import in_float8
from sam3_engine.trunk.rope import Table, table, window_order
from sam3_engine.weights import COMPUTED

logger = logging.getLogger(__name__)
COMPILERS = (os.environ.get("CC", "cc"), "gcc", "clang")

BATCHES = (8, 4, 2, 1)
"""Images that go through the blocks at once. They are few, as torch.compile makes a graph for each."""


class Trunk(nn.Module):
    """The package's `ViT` as `sam3_engine.assembly` makes it, for inference alone, with its parameters' names.

    It has no buffers, so it can be made on the meta device and given its tensors with `load_state_dict(assign=True)`.
    """

    def __init__(self, spec: ModelSpec) -> None:
        """Untrained weights. Raises ValueError for a grid that is no whole number of windows, or a window that is not
        the size of the pretraining images."""
        super().__init__()
        grid, window, dim, heads = spec.grid, spec.vit_window, spec.vit_dim, spec.vit_heads
        if grid % window or spec.pretrain_image_size != window * spec.patch_size:
            raise ValueError(
                f"windows of {window} patches do not fit {grid} patches or the pretraining images"
            )
        self.channel_list = [dim]
        self.grid, self.window, self.channels = grid, window, dim // heads
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(3, dim, spec.patch_size, stride=spec.patch_size, bias=False)}
        )
        self.pos_embed = nn.Parameter(torch.zeros(1, window**2 + 1, dim))
        self.ln_pre = nn.LayerNorm(dim)
        shape = dim, heads, int(dim * spec.vit_mlp_ratio)
        self.blocks = nn.ModuleList(
            GlobalBlock(*shape, grid**2) if i in spec.vit_global_blocks else WindowedBlock(*shape, window**2)
            for i in range(spec.vit_depth)
        )
        self._tables: dict[torch.device, tuple[Table, Table]] = {}

    @classmethod
    def of(cls, spec: ModelSpec, state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> "Trunk":
        """A trunk that multiplies in `dtype`, around the tensors of a state dict (the package's ViT's will do).

        Tensors that need no conversion are shared, not copied. Raises RuntimeError where one is missing or has another
        shape.
        """
        with torch.device("meta"):
            trunk = cls(spec)
        known = {name: tensor for name, tensor in state.items() if not name.endswith(COMPUTED)}
        trunk.load_state_dict(known, assign=True)
        trunk.requires_grad_(False)
        for module in trunk.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                for tensor in module.parameters():
                    tensor.data = tensor.data.to(dtype)
        return trunk

    def use_float8(self) -> None:
        """Compute the blocks' linear layers in float8 from now on: see `float8.check_float8`. Call it before the blocks
        are first run, where they are to be compiled."""
        in_float8(self.blocks)

    def compile_blocks(
        self, backend: str | Callable[..., Any] = "inductor", cache: str | None = None
    ) -> None:
        """Compile both kinds of block when they first run, once for each size of batch; without a C compiler, which
        torch's own backend needs, this only logs a warning. cache: folder for compiled code of this whole process, from
        which later processes read it."""
        if backend == "inductor" and not any(map(shutil.which, COMPILERS)):
            logger.warning("no C compiler (gcc or clang): the image trunk runs without torch.compile")
            return
        if cache is not None:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for block in self.blocks:
            # `block.compile` would keep the graphs of all modules of the process together, and no more than eight.
            block.forward = torch.compile(block.forward, backend=backend, dynamic=False, fullgraph=True)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Normalised pixels, float [B, 3, S, S], to a list, as the package does, of one: features [B, dim, g, g],
        float32, a view of NHWC memory."""
        with torch.autocast(pixels.device.type, enabled=False), kernels(pixels.device):
            parts = [self._run(part) for part in pixels.split(self._batches(len(pixels)))]
        features = parts[0] if len(parts) == 1 else torch.cat(parts)
        return [features.permute(0, 3, 1, 2)]

    @staticmethod
    def _batches(images: int) -> list[int]:
        sizes = []
        for size in BATCHES:
            sizes += [size] * (images // size)
            images %= size
        return sizes

    def _run(self, pixels: torch.Tensor) -> torch.Tensor:
        windows = self.grid // self.window
        project = self.patch_embed["proj"]
        assert isinstance(project, nn.Conv2d)
        patches = project(pixels.to(project.weight.dtype)).float()
        patches = patches.unflatten(3, (windows, -1)).unflatten(2, (windows, -1))
        tokens = patches.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)  # [B, windows, tokens, dim]
        # The positions are those of the pretraining images, which every window repeats.
        tokens = self.ln_pre(tokens + self.pos_embed[:, 1:]).flatten(1, 2)
        window, image = self.angles(pixels.device)
        for block in self.blocks:
            tokens = block(tokens, image if isinstance(block, GlobalBlock) else window)
        rows = tokens.unflatten(1, (windows, windows, self.window, self.window)).transpose(2, 3)
        return rows.flatten(3, 4).flatten(1, 2)

    def angles(self, device: torch.device) -> tuple[Table, Table]:
        """The angles of a window's tokens and of the whole image's, in window order."""
        if device not in self._tables:
            window = table(self.window, self.channels, 1.0)
            cos, sin = table(self.grid, self.channels, self.window / self.grid)
            order = window_order(self.grid, self.window)
            image = cos[order], sin[order]
            self._tables[device] = _to(window, device), _to(image, device)
        return self._tables[device]


def _to(pair: Table, device: torch.device) -> Table:
    cos, sin = pair
    return cos.to(device), sin.to(device)
