"""One transformer block of the trunk, over tokens in window order."""

import torch
from torch import nn
from torch.nn import functional as F

from sam3_engine.trunk.attention import attend
from sam3_engine.trunk.float8 import Float8Linear
from sam3_engine.trunk.rope import Table, rotate


class Block(nn.Module):
    """Attention among each `length` tokens that follow one another, then an MLP, each added to its input.

    Parameters have the names of the package's block. Products are computed in the dtype of their weights, all else in
    float32.
    """

    def __init__(self, dim: int, heads: int, hidden: int, length: int) -> None:
        super().__init__()
        self.heads, self.length = heads, length
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)})
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, hidden), "fc2": nn.Linear(hidden, dim)})

    def _run(self, tokens: torch.Tensor, by: Table) -> torch.Tensor:
        tokens = tokens + self._attention(self.norm1(tokens), by)
        hidden = F.gelu(_product(self.mlp["fc1"], self.norm2(tokens)))
        return tokens + _product(self.mlp["fc2"], hidden)

    def _attention(self, x: torch.Tensor, by: Table) -> torch.Tensor:
        qkv = _product(self.attn["qkv"], x).view(-1, self.length, 3, self.heads, x.shape[-1] // self.heads)
        q, k = rotate(qkv[:, :, :2], by).transpose(1, 3).unbind(2)
        mixed = attend(q, k, qkv[:, :, 2].transpose(1, 2))
        return _product(self.attn["proj"], mixed.transpose(1, 2).reshape(x.shape))


class WindowedBlock(Block):
    """Attention within windows. It has a `forward` of its own, as torch.compile keeps graphs by function: all blocks
    of one kind share theirs."""

    def forward(self, tokens: torch.Tensor, by: Table) -> torch.Tensor:
        """tokens [B, N, dim], N a multiple of `length`; by: the angles of `length` tokens."""
        return self._run(tokens, by)


class GlobalBlock(Block):
    """Attention over the whole image."""

    def forward(self, tokens: torch.Tensor, by: Table) -> torch.Tensor:
        """The block's answer: see WindowedBlock.forward, with N equal to `length`."""
        return self._run(tokens, by)


def _product(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if isinstance(layer, Float8Linear):
        product: torch.Tensor = layer(x)
        return product
    assert isinstance(layer, nn.Linear)
    return F.linear(x.to(layer.weight.dtype), layer.weight, layer.bias)
