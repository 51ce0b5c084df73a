"""A CUDA device that is not there: tensors that say they are on it, and compute on the CPU.

Values are right, rules are CUDA's: tensors of two devices do not mix, autocast is CUDA's, and each time that the host
would wait for the device is noted.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from sam3_engine.trunk import attention

aten = torch.ops.aten
CUDA = torch.device("cuda", 0)

COPIES = {aten._to_copy.default, aten.copy_.default, aten._pin_memory.default}
WAITS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
    aten.equal.default,
    aten.is_nonzero.default,
}
"""Operations whose result, or whose shape, the host reads from the device."""
NO_KERNELS = {aten.detach.default, aten._unsafe_view.default}
"""Operations that only describe the same memory anew, beside those that say so."""
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._unsafe_index.Tensor}
"""They take indices on the host too, and copy them; a mask among the indices is read back."""


class OnCuda(torch.Tensor):
    """A tensor of the device; `held` has its values, on the CPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls: type["OnCuda"], held: torch.Tensor) -> "OnCuda":
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=CUDA,
        )
        wrapper.held = held
        return wrapper

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnCuda({self.held!r})"

    def tolist(self) -> Any:
        """Torch reads no subclass so."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func} on the device, outside `FakeCuda`")


class FakeCuda(TorchDispatchMode):
    """A CUDA device exists within this mode. waits: number of the host's waits, by reason; kernels: number of
    runs, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.kernels: Counter[str] = Counter()

    def waits_in(self, call: Callable[[], object]) -> int:
        """How often the host waits in a call. Counts from nothing."""
        self.waits.clear()
        self.kernels.clear()
        call()
        return self.waits.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        flat = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
        device = [one for one in flat if isinstance(one, OnCuda)]
        host = [one for one in flat if not isinstance(one, OnCuda)]
        wanted = kwargs.get("device")
        to_device = wanted is not None and torch.device(wanted).type == "cuda"
        if func is aten.is_pinned.default:
            return False
        if func is aten._pin_memory.default:
            return _for_transfer(args[0].clone())
        if kwargs.get("pin_memory"):
            return _for_transfer(func(*args, **kwargs | {"pin_memory": False}))
        if not device and not to_device:
            return func(*args, **kwargs)
        if func in COPIES:
            self._note_copy(func, args, kwargs, to_device)
        elif func not in INDEXING and any(one.dim() for one in host):
            raise RuntimeError(f"{func} of tensors on the device and on the host")
        if device and func in WAITS:
            self.waits[str(func)] += 1
        if func in INDEXING:
            for index in args[1]:
                if index is not None and not isinstance(index, OnCuda):
                    self.waits["indices on the host"] += 1
                elif index is not None and index.dtype in (torch.bool, torch.uint8):
                    self.waits["a mask as index"] += 1
        if wanted is not None:
            kwargs["device"] = "cpu"
        own = {id(one.held): one for one in device}
        out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        if not func.is_view and func not in NO_KERNELS:
            self.kernels[str(func)] += 1
        if func is aten._to_copy.default and wanted is not None and not to_device:
            return out
        if func is aten.copy_.default and not isinstance(args[0], OnCuda):
            return args[0]
        return tree_map(lambda one: _wrapped(one, own), out)

    def _note_copy(self, func: Any, args: Any, kwargs: dict[str, Any], to_device: bool) -> None:
        if func is aten.copy_.default:
            source, target = isinstance(args[1], OnCuda), isinstance(args[0], OnCuda)
        else:
            source = isinstance(args[0], OnCuda)
            target = to_device if kwargs.get("device") is not None else source
        given = args[1] if func is aten.copy_.default else args[0]
        patient = kwargs.get("non_blocking") or (func is aten.copy_.default and args[2:] == (True,))
        if source and not target:
            free = patient and getattr(args[0], "is_for_transfer", False)
            self.waits["a copy to the host"] += not free
        if target and not source and given.dim():
            free = patient and getattr(given, "is_for_transfer", False)
            self.waits["a copy to the device"] += not free


def _for_transfer(host: torch.Tensor) -> torch.Tensor:
    """A tensor in pinned memory, as far as this device knows."""
    host.is_for_transfer = True  # type: ignore[attr-defined]
    return host


def _held(one: Any) -> Any:
    return one.held if isinstance(one, OnCuda) else one


def _wrapped(one: Any, own: dict[int, OnCuda]) -> Any:
    if not isinstance(one, torch.Tensor):
        return one
    return own[id(one)] if id(one) in own else OnCuda(one)


@contextmanager
def cuda_arithmetic() -> Iterator[None]:
    """Autocast for CUDA works, though no device is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        torch._C._ensureCUDADeviceGuardSet()
        yield


class Queue:
    """Stands for a stream: all work is done at once, in order."""

    def __init__(self, device: object = None) -> None: ...

    def wait_stream(self, other: "Queue") -> None: ...


def _event(device: FakeCuda) -> type:
    class Event:
        """Waiting for it is a wait of the host."""

        def __init__(self, blocking: bool = False) -> None: ...

        def record(self, stream: Queue) -> None: ...

        def synchronize(self) -> None:
            device.waits["an event"] += 1

    return Event


@contextmanager
def fake_cuda() -> Iterator[FakeCuda]:
    """A process that has the device: an H100, without CUDA graphs."""
    with cuda_arithmetic(), pytest.MonkeyPatch.context() as patch, FakeCuda() as device:
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor makes values on the host, then copies them
        patch.setattr(torch.cuda, "Stream", Queue)
        patch.setattr(torch.cuda, "Event", _event(device))
        patch.setattr(torch.cuda, "current_stream", Queue)
        patch.setattr(torch.cuda, "stream", lambda _: nullcontext())
        patch.setattr(torch.Tensor, "record_stream", lambda *_: None)
        patch.setattr(torch.cuda, "get_device_capability", lambda _=None: (9, 0))
        # Torch asks the driver which of the other kernels the card has.
        patch.setattr(attention, "backends", lambda _: [SDPBackend.MATH])
        patch.setattr(
            torch, "inference_mode", torch.no_grad
        )  # inference mode hides operations from dispatch modes
        patch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
        try:
            yield device
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
