"""The package's exemplar-box encoder without its CUDA-only step."""

import torch
import torchvision
from sam3.model.box_ops import box_cxcywh_to_xyxy
from sam3.model.geometry_encoders import SequenceGeometryEncoder


class GeometryEncoder(SequenceGeometryEncoder):
    """`sam3`'s SequenceGeometryEncoder on any device: same parameters, same values.

    The original pins host memory while it encodes boxes, which needs CUDA.
    """

    def _encode_boxes(
        self,
        boxes: torch.Tensor,
        boxes_mask: torch.Tensor,
        boxes_labels: torch.Tensor,
        img_feats: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed boxes from their coordinates, the features under them and their position.

        boxes: [N, B, 4] normalised (cx, cy, w, h); boxes_mask: [B, N], True = padding; boxes_labels: [N, B];
        img_feats: [B, C, h, w]. Returns ([N, B, C], boxes_mask).
        """
        count, batch = boxes.shape[:2]
        height, width = img_feats.shape[-2:]
        # Numbers, not a tensor: a copy to the device would wait for it.
        x0, y0, x1, y1 = box_cxcywh_to_xyxy(boxes).float().transpose(0, 1).unbind(-1)
        corners = torch.stack([x0 * width, y0 * height, x1 * width, y1 * height], dim=-1)
        # One tensor of (image, corners): torchvision makes it from a list with several operations for each prompt.
        owners = torch.arange(batch, device=boxes.device, dtype=corners.dtype).repeat_interleave(count)
        rois = torch.cat([owners.unsqueeze(1), corners.flatten(0, 1)], dim=1)
        pooled = torchvision.ops.roi_align(img_feats, rois, self.roi_size)
        from_pool = self.boxes_pool_project(pooled).view(batch, count, self.d_model).transpose(0, 1)
        centre_x, centre_y, box_w, box_h = (part.flatten() for part in boxes.unbind(-1))
        position = self.pos_enc.encode_boxes(centre_x, centre_y, box_w, box_h)
        position = position.view(count, batch, position.shape[-1])
        embedded = self.boxes_direct_project(boxes) + from_pool + self.boxes_pos_enc_project(position)
        return self.label_embed(boxes_labels.long()) + embedded, boxes_mask
