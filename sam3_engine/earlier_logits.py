"""Low-resolution mask logits of an earlier answer, as a Python caller gives them back. Needs no torch.

Both functions raise ValueError for anything but finite numbers of the right shape.
"""

import numpy as np
import numpy.typing as npt

from sam3_engine.prompt_values import shown


def logits_of_prompts(given: npt.ArrayLike, count: int, side: int | None) -> npt.NDArray[np.float32]:
    """float32 [count, h, w] of the argument mask_input: [N, h, w], [N, 1, h, w] or, for one prompt, [h, w]. side: h and
    w, where they are known."""
    shape = f"[{side}, {side}]" if side else "[h, w]"
    expected = (
        f"expected mask_input with the logits of an earlier answer, one {shape} for each of {count} prompts"
    )
    logits = _numbers_in(given, expected)
    if logits.ndim < 2 or not logits.size or logits.size != count * logits.shape[-2] * logits.shape[-1]:
        raise ValueError(f"{expected}, got {logits.shape}")
    if side and logits.shape[-2:] != (side, side):
        raise ValueError(f"{expected}, got {logits.shape}")
    return logits.reshape(count, *logits.shape[-2:])


def logits_of_one(given: npt.ArrayLike, side: int | None) -> npt.NDArray[np.float32]:
    """float32 [h, w] of a prompt's previous_logits. side: h and w, where they are known."""
    shape = f"[{side}, {side}]" if side else "[h, w]"
    expected = f"expected previous_logits with the logits of an earlier answer, {shape}"
    logits = _numbers_in(given, expected)
    if logits.ndim != 2 or not logits.size or (side and logits.shape != (side, side)):
        raise ValueError(f"{expected}, got {logits.shape}")
    return logits


def _numbers_in(given: npt.ArrayLike, expected: str) -> npt.NDArray[np.float32]:
    """An array of finite float32. Raises ValueError, whose message begins with `expected`, for anything else."""
    try:
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor that needs a gradient
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{expected}, got {shown(given)}")
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite
        found = array.astype(np.float32)
    if not np.isfinite(found).all():
        raise ValueError(f"{expected}: some of these are not finite in float32")
    return found
