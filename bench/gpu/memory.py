"""Checks of an engine where the GPU's memory is short: it answers in smaller batches, and with an error where one item
does not fit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from bench.gpu.right import SIZE, Verdict
from bench.gpu.setting import Setting, concepts, features, square
from sam3_engine.engine import ConceptItem
from sam3_engine.errors import DeviceFull


@contextmanager
def limited(device: torch.device, size: int) -> Iterator[None]:
    """Let torch hold `size` bytes of the device at most within the block."""
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, size / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        torch.cuda.empty_cache()


def held_by(device: torch.device, call: Callable[[], object]) -> int:
    """Most bytes that torch holds of the device in a call, beginning with no cache."""
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_reserved(device)


def where_memory_is_short(asked: Setting) -> Iterator[Verdict]:
    """A batch of 8 images, and one of 16 concepts, with all masks: with half of what they need beside one of them, and
    with nothing. Needs a GPU."""
    engine = asked.engine()
    images = [square(asked.spec, seed) for seed in range(1, 9)]
    image = features(engine)

    def concept(count: int) -> int:
        found = engine.segment_concepts([ConceptItem(image, SIZE, concepts(count, 0.0))])[0]
        return len(found)

    calls: dict[str, tuple[Callable[[int], int], int]] = {
        "encode": (lambda count: len(engine.encode(images[:count])), len(images)),
        "concept": (concept, 16),
    }
    before = engine.on_out_of_memory
    try:
        for name, (call, most) in calls.items():
            yield from _short(asked, name, call, most)
    finally:
        engine.on_out_of_memory = before


def _short(asked: Setting, name: str, call: Callable[[int], int], most: int) -> Iterator[Verdict]:
    engine, device = asked.engine(), asked.device
    failures: list[int] = []
    engine.on_out_of_memory = partial(failures.append, 1)
    call(most)
    few, all_of_them = held_by(device, partial(call, 1)), held_by(device, partial(call, most))
    with limited(device, (few + all_of_them) // 2):
        answered = call(most)
    shown = f"{answered} of {most} answered, {len(failures)} batches did not fit"
    yield Verdict(f"{name} with half of the memory", answered == most and bool(failures), shown)
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    with limited(device, torch.cuda.memory_reserved(device)):
        try:
            outcome = f"{call(1)} answered"
        except DeviceFull:
            outcome = "DeviceFull"
    yield Verdict(f"{name} with no memory", outcome == "DeviceFull", outcome)
    yield Verdict(f"{name} afterwards", call(most) == most, "")
