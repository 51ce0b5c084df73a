"""Linear layers whose products are computed in eight bits, float8 e4m3. An experiment: nobody has timed it yet.

A scale for each token and one for each output channel keep the values within the format's range.
"""

import torch
from torch import nn

FLOAT8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FLOAT8).max
SMALLEST = 1e-12
"""Least largest value of a row, so that a row of zeros can be divided by it."""
ADA = (8, 9)
"""Compute capability from which GPUs multiply float8."""


class Float8Linear(nn.Module):
    """A linear layer [K] to [N] in float8, for inference alone."""

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = _rounded(linear.weight.detach())
        self.register_buffer("weight", weight)  # [N, K]
        self.register_buffer("scale", scale.t().contiguous())  # [1, N]
        self.register_buffer("bias", linear.bias.detach().to(torch.bfloat16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., K] in any format to bfloat16 [..., N]."""
        rows, scale = _rounded(x.flatten(0, -2))
        out = torch._scaled_mm(
            rows, self.weight.t(), scale_a=scale, scale_b=self.scale, out_dtype=torch.bfloat16
        )
        return (out + self.bias).unflatten(0, x.shape[:-1])


def _rounded(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [R, K] in float8, each divided by its scale, float32 [R, 1]."""
    rows = rows.float()
    scale = rows.abs().amax(dim=1, keepdim=True).clamp(min=SMALLEST) / LARGEST
    return (rows / scale).to(FLOAT8), scale


def in_float8(blocks: nn.Module) -> None:
    """Replace every linear layer within the blocks. They keep no other form of it."""
    for module in list(blocks.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Float8Linear(child))


def check_float8(device: torch.device, dtype: torch.dtype) -> None:
    """Raises ValueError where a trunk on the device that computes in `dtype` cannot compute in float8."""
    if dtype == torch.float32:
        raise ValueError("SAM3_FLOAT8 needs the dtype bfloat16: float32 asks for exact answers")
    if device.type != "cuda":
        raise ValueError(f"SAM3_FLOAT8 needs a GPU for the image encoder, which runs on {device.type!r}")
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) < ADA:
        raise ValueError(
            f"SAM3_FLOAT8 needs a GPU of compute capability 8.9 (Ada, Hopper) or later: this one has {major}.{minor}"
        )
