"""Rotary position encoding in real numbers, for tokens that stay in window order.

In window order the tokens of one window follow one another, row by row, and so do the windows. Attention within
windows then needs no copy, and attention over the whole image only needs its positions in the same order.
"""

import torch

Table = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines, float32 [L, 1, 1, d/2] each: one angle for each token and each pair of neighbouring channels."""
THETA = 10000.0


def window_order(grid: int, window: int) -> torch.Tensor:
    """int64 [grid * grid]: for each place in window order, the token's place in the image row by row."""
    count = grid // window
    places = torch.arange(grid * grid, device="cpu").view(count, window, count, window)
    return places.transpose(1, 2).reshape(-1)


def table(side: int, channels: int, scale: float) -> Table:
    """The angles of a square of `side` x `side` tokens, row by row, on the CPU whatever the default device.

    channels: of one attention head. The first half of them turns with x, the second half with y. scale: distance of
    two neighbouring tokens, in tokens of the size that the model was pretrained at.
    """
    with torch.device("cpu"):
        speeds = 1.0 / THETA ** (torch.arange(0, channels, 4).float() / channels)
        places = torch.arange(side, dtype=torch.float32) * scale
        x, y = places.repeat(side), places.repeat_interleave(side)
        angles = torch.cat((torch.outer(x, speeds), torch.outer(y, speeds)), dim=1)[:, None, None]
        turned = torch.polar(torch.ones_like(angles), angles)  # rounds as the package's table does
        return turned.real.contiguous(), turned.imag.contiguous()


def rotate(x: torch.Tensor, by: Table) -> torch.Tensor:
    """Turn each pair of neighbouring channels of x [B, L, 2, heads, d] by its token's angle; computed in float32.

    Complex and real numbers give the same bits. torch multiplies complex ones in one pass (fourteen times as fast on a
    CPU; real ones took a quarter of an encode on an H200), but cannot compile them.
    """
    pairs = x.float().unflatten(-1, (-1, 2))
    if not torch.compiler.is_compiling():
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.complex(*by))
    else:
        (even, odd), (cos, sin) = pairs.unbind(-1), by
        turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1)
    return turned.flatten(-2).to(x.dtype)
