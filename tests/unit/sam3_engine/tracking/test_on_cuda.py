"""Every way of following objects as on CUDA, in bfloat16: devices fit, and the host waits for little."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sam3_engine.bundled import BUNDLED_TINY, load_bundled
from sam3_engine.engine import Engine
from sam3_engine.features import Features
from sam3_engine.spec import TINY
from sam3_engine.tracking.objects import NewObject, Rules, Session, Turn
from sam3_engine.tracking.passes import StartItem, StepItem, start, step
from sam3_engine.tracking.prompts import MaskPrompt
from sam3_engine.tracking.sessions import Answer, advance
from sam3_engine.tracking.storing import session_from_bytes, session_to_bytes
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from tests.support.fake_cuda import CUDA, FakeCuda, fake_cuda

SIDE = TINY.image_size
SIZE = ImageSize(SIDE, SIDE)
FRAMES = 4
RED, BLUE = (90, 110), (250, 220)
"""Where the discs begin, x and y."""
CLICKS = [VisualPrompt((Point(x, y),)) for x, y in (RED, BLUE)]


@dataclass
class OnCuda:
    device: FakeCuda
    engine: Engine
    features: list[Features]


def discs(frame: int) -> npt.NDArray[np.uint8]:
    """A red disc that goes right and a blue one that goes left."""
    y, x = np.mgrid[:SIDE, :SIDE]
    picture = np.full((SIDE, SIDE, 3), 200, np.uint8)
    for (across, down), way, colour in ((RED, 6, (210, 30, 30)), (BLUE, -6, (30, 60, 200))):
        picture[(x - across - way * frame) ** 2 + (y - down) ** 2 < 40**2] = colour
    return picture


def features_of(engine: Engine) -> list[Features]:
    return [engine.expand(one) for one in engine.encode([discs(frame) for frame in range(FRAMES)])]


@pytest.fixture(scope="module")
def plain() -> tuple[Engine, list[Features]]:
    engine = Engine.from_state(load_bundled(BUNDLED_TINY), TINY, device="cpu", dtype="float32", video=True)
    return engine, features_of(engine)


@pytest.fixture(scope="module")
def on_cuda(plain: object) -> Iterator[OnCuda]:
    with fake_cuda() as device, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sam3_engine.engine.choose_device", lambda _: CUDA)
        engine = Engine.from_state(load_bundled(BUNDLED_TINY), TINY, device="cuda", video=True)
        yield OnCuda(device, engine, features_of(engine))


def follow(engine: Engine, features: list[Features], rules: Rules, new: list[VisualPrompt]) -> list[Answer]:
    """The answers to all frames; the first object is corrected in the third one. Between frames a session is bytes, as
    between processes."""
    answers: list[Answer] = []
    session = Session(rules)
    for frame, each in enumerate(features):
        turn = Turn(session, each, SIZE, frame)
        if frame == 0:
            turn = replace(turn, new=[NewObject(prompt) for prompt in new])
        if frame == 2 and new:
            where = VisualPrompt((Point(RED[0] + 6 * frame, RED[1]),))
            turn = replace(turn, corrections={1: where})
        (answer,) = advance(engine, [turn])
        session = session_from_bytes(session_to_bytes(answer.session), rules, engine)
        answers.append(answer)
    return answers


@pytest.mark.parametrize(
    ("rules", "new"),
    [
        (Rules(), CLICKS),
        (Rules((ConceptPrompt("red circle"), ConceptPrompt("blue circle")), every=2), []),
        (Rules((ConceptPrompt("blue circle"),), every=1), CLICKS[:1]),
    ],
    ids=["clicks", "words", "both"],
)
def test_answers_are_those_of_the_cpu(
    on_cuda: OnCuda, plain: tuple[Engine, list[Features]], rules: Rules, new: list[VisualPrompt]
) -> None:
    ours = follow(on_cuda.engine, on_cuda.features, rules, new)
    theirs = follow(*plain, rules, new)
    for here, there in zip(ours, theirs, strict=True):
        assert [one.id for one in here.shown] == [one.id for one in there.shown] == [1, 2]
        for mine, other in zip(here.shown, there.shown, strict=True):
            a, b = mine.mask_logits > 0, other.mask_logits > 0
            assert (a & b).sum() >= 0.95 * (a | b).sum()
            assert b.sum() > 300


def test_the_host_waits_once_in_a_start_and_in_a_step(on_cuda: OnCuda) -> None:
    engine, (first, second, *_) = on_cuda.engine, on_cuda.features
    begun = start(engine, [StartItem(first, SIZE, CLICKS)])[0]
    states = [one.state for one in begun]
    step(engine, [StepItem(second, states, 1)])  # tables of places are computed once
    assert on_cuda.device.waits_in(lambda: start(engine, [StartItem(first, SIZE, CLICKS)])) == 1, (
        on_cuda.device.waits
    )
    assert on_cuda.device.waits_in(lambda: step(engine, [StepItem(second, states, 1)])) == 1, (
        on_cuda.device.waits
    )
    shown = MaskPrompt(begun[0].state.logits)
    assert on_cuda.device.waits_in(lambda: start(engine, [StartItem(first, SIZE, [shown])])) == 1, (
        on_cuda.device.waits
    )


def test_objects_of_two_videos_share_a_pass(on_cuda: OnCuda) -> None:
    engine, (first, second, *_) = on_cuda.engine, on_cuda.features
    begun = start(engine, [StartItem(first, SIZE, CLICKS[:1]), StartItem(second, SIZE, CLICKS[1:])])
    items = [StepItem(second, [begun[0][0].state], 1), StepItem(first, [begun[1][0].state], 1)]
    assert on_cuda.device.waits_in(lambda: step(engine, items)) == 1, on_cuda.device.waits
    for item, (found,) in zip(items, step(engine, items), strict=True):
        assert found.state.logits.device == CUDA
        assert found.mask_logits.device == torch.device("cpu")
        (alone,) = step(engine, [item])[0]
        assert ((found.mask_logits > 0) == (alone.mask_logits > 0)).float().mean() > 0.999
