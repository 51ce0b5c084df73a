"""The package's detection decoder without its waits for the device: same parameters, same values."""

import math

import torch
from sam3.model.box_ops import box_cxcywh_to_xyxy
from sam3.model.decoder import TransformerDecoder, TransformerDecoderLayer


class DetectionLayer(TransformerDecoderLayer):
    """`sam3`'s TransformerDecoderLayer with weights of any dtype.

    The original computes its MLP outside autocast, in float32, which fails where the weights are bfloat16.
    """

    def forward_ffn(self, tgt: torch.Tensor) -> torch.Tensor:
        """The MLP of queries [Q, P, d], with its residual and norm."""
        with torch.autocast(tgt.device.type, enabled=False):
            hidden = self.activation(self.linear1(tgt.to(self.linear1.weight.dtype)))
            out = self.linear2(self.dropout3(hidden))
        return self.norm3(tgt + self.dropout4(out))


class DetectionDecoder(TransformerDecoder):
    """`sam3`'s TransformerDecoder, which compares sizes that are on the host.

    The original reads the grid's sizes from the device several times a layer, and each read waits for all work before
    it. Call this one with `spatial_shapes` as an array in host memory.
    """

    def _get_rpb_matrix(self, reference_boxes: torch.Tensor, feat_size: tuple[int, int]) -> torch.Tensor:
        """The bias of attention from each query's box to each cell: its distances from the box's sides, embedded.

        reference_boxes: [Q, P, 4] normalised (cx, cy, w, h); feat_size: the grid's height and width. Returns
        [P, heads, Q, height * width].
        """
        corners = box_cxcywh_to_xyxy(reference_boxes).transpose(0, 1)
        height, width = (int(size) for size in feat_size)
        x = self.boxRPB_embed_x(self._log_distances(corners[..., 0::2], width)).permute(0, 3, 1, 2)
        y = self.boxRPB_embed_y(self._log_distances(corners[..., 1::2], height)).permute(0, 3, 1, 2)
        # The two small summands in the order of the result: their sum is then written once, in that order.
        return (y.contiguous().unsqueeze(-1) + x.contiguous().unsqueeze(-2)).flatten(3)

    def _log_distances(self, edges: torch.Tensor, cells: int) -> torch.Tensor:
        """Signed logarithmic distances of `cells` cells from edges [P, Q, 2] along one axis: [P, Q, cells, 2]."""
        key = (cells, edges.device)
        if key not in self.coord_cache:
            self.coord_cache[key] = torch.arange(cells, device=edges.device, dtype=torch.float32) / cells
        distances = (self.coord_cache[key].view(-1, 1) - edges.unsqueeze(2)) * 8
        return distances.sign() * (distances.abs() + 1).log2() / math.log2(8)
