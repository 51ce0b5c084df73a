"""Frames attend to the memories of their objects, by the weights of the package's `TransformerEncoderCrossAttention`.

What objects of one frame share is computed once, until they look at their memories. A CPU weighs values before it
projects them, while they are a quarter as wide, and keeps their scores in its cache. Keys are turned in place. Matrix
products have the format of the weights, all else is float32. The result is the package's own, up to rounding.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from sam3.model.decoder import TransformerDecoderLayerv2, TransformerEncoderCrossAttention
from sam3.sam.transformer import RoPEAttention

from sam3_engine.trunk import attention as kernels

SCORES = 2**19
"""Scores of one object that are held at a time on a CPU: 2 MiB. More are given back to the system each time, and then
cost fresh pages."""
ROWS = 128
"""Least rows of a product: fewer are slow, so scores of many memories take more space."""


def attend(
    encoder: TransformerEncoderCrossAttention,
    frames: torch.Tensor,
    position: torch.Tensor,
    rows: torch.Tensor | None,
    memories: torch.Tensor,
    places: torch.Tensor,
    turned: int,
) -> torch.Tensor:
    """The features of B objects' frames after they have seen what is remembered of each object, [B, N, d].

    frames: [U, N, d]; position: [1, N, d]. rows: each object's frame, [B]; None: all objects are in the only one.
    memories, places: [B, L, m], and where and when they were. turned: how many of the first memories have a place in
    the frame; those after them are pointers.
    """
    count = len(memories)
    keys = memories + places
    x = frames + 0.1 * position
    with _products(encoder):
        for number, layer in enumerate(encoder.layers):
            x = x + _look_around(layer.self_attn, layer.norm1(x))
            query = _turned(layer.cross_attn_image, layer.cross_attn_image.q_proj(layer.norm2(x)))
            if number == 0:
                x, query = spread(x, rows, count), spread(query, rows, count)
            x = x + _look_back(layer.cross_attn_image, query, keys, memories, turned)
            x = x + _think(layer, x)
        return encoder.norm(x)


def _products(encoder: TransformerEncoderCrossAttention) -> AbstractContextManager[object]:
    """Matrix products in the format of the weights, where that is a half one."""
    weight = encoder.layers[0].linear1.weight
    if weight.dtype == torch.float32:
        return nullcontext()
    return torch.autocast(weight.device.type, dtype=weight.dtype)


def spread(maps: torch.Tensor, rows: torch.Tensor | None, count: int) -> torch.Tensor:
    """What frames share, [U, ...], as one row for each of `count` objects; see `attend`."""
    return maps.expand(count, *maps.shape[1:]) if rows is None else maps[rows]


def _think(layer: TransformerDecoderLayerv2, x: torch.Tensor) -> torch.Tensor:
    return layer.linear2(F.relu(layer.linear1(layer.norm3(x)), inplace=True))


def _look_around(attention: RoPEAttention, x: torch.Tensor) -> torch.Tensor:
    query, key = (_turned(attention, project(x)) for project in (attention.q_proj, attention.k_proj))
    value = attention.v_proj(x)
    found = kernels.attend(*(one[:, None].to(value.dtype) for one in (query, key, value)))
    return attention.out_proj(found[:, 0])


def _look_back(
    attention: RoPEAttention, query: torch.Tensor, keys: torch.Tensor, memories: torch.Tensor, turned: int
) -> torch.Tensor:
    key = _turned(attention, attention.k_proj(keys), turned)
    way = WAYS.get(query.device.type, by_kernel)
    return attention.out_proj(way(attention, query, key, memories))


def by_blocks(
    attention: RoPEAttention, query: torch.Tensor, key: torch.Tensor, memories: torch.Tensor
) -> torch.Tensor:
    """Weigh memories, then project the sum: weights add up to one, so the order makes no difference."""
    # Here, not by each product: it would convert all keys for each part of the query.
    query, key, memories = (
        x.to(attention.v_proj.weight.dtype) for x in (query * query.shape[-1] ** -0.5, key, memories)
    )
    at_once = max(ROWS, SCORES // key.shape[1])
    found = [
        torch.cat([torch.softmax(part @ own.T, dim=-1) @ values for part in asked.split(at_once)])
        for asked, own, values in zip(query, key, memories, strict=True)
    ]
    return attention.v_proj(torch.stack(found))


def by_kernel(
    attention: RoPEAttention, query: torch.Tensor, key: torch.Tensor, memories: torch.Tensor
) -> torch.Tensor:
    """One kernel of the device, which wants keys and values of one width."""
    value = attention.v_proj(memories)
    return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0]


WAYS = {"cpu": by_blocks}
"""How a kind of device attends to memories; any other one by its kernel."""


def _turned(attention: RoPEAttention, x: torch.Tensor, count: int | None = None) -> torch.Tensor:
    """x itself, [B, L, d], with the first `count` rotated by their cells: maps of N cells one after another."""
    x = x.float()
    table = attention.freqs_cis
    pairs = x[:, :count].unflatten(1, (-1, len(table))).unflatten(3, (-1, 2))
    torch.view_as_complex(pairs).mul_(table)
    return x
