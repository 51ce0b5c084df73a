"""A copy to the device that the host does not wait for."""

import torch


def upload(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device. To CUDA the copy is queued behind the work before it, from pinned memory: a copy from
    other memory would wait until that work is done."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
