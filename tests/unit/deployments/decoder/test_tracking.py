"""Videos in a decoder, with the bundled model."""

import asyncio
import uuid
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import orjson
import pytest

pytest.importorskip("torch")

from deployments.decoder.tracking import Tracker
from deployments.messages import Expired, NeedImage
from deployments.model.thread import ModelThread
from deployments.observe.metrics import Metrics
from deployments.protocol import Overloaded
from deployments.video.messages import EncodedFrame, Tracked, TrackJob
from deployments.video.protocol import NO_PROMPTS, FramePrompts, ObjectPrompt, SessionRules
from deployments.video.record import Record
from sam3_engine.embedding import Embedding
from sam3_engine.engine import Engine
from sam3_engine.features import Features
from sam3_engine.images import decode_picture
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from tests.support.clips import frame, red_at
from tests.support.patience import PATIENCE_S
from tests.support.scenes import HEIGHT, WIDTH

SIZE = ImageSize(HEIGHT, WIDTH)
RED = SessionRules((ConceptPrompt("red circle"),), every=1)
LONG_AGO = 1.0


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load("tiny", device="cpu", video=True)


@pytest.fixture
def make(engine: Engine) -> Iterator[Callable[..., Tracker]]:
    """Makes decoders."""
    with ExitStack() as threads:
        yield partial(_make, engine, threads)


@pytest.fixture
def tracker(make: Callable[..., Tracker]) -> Tracker:
    return make()


class Pool:
    """Keeps states as the pool does. away: it does not answer."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], tuple[str, Any]] = {}
        self.away = False
        self.gate = asyncio.Event()
        """What is to be kept waits for it."""
        self.gate.set()
        self.asked, self.kept = 0, 0

    def revision(self, session: str) -> str | None:
        held = self.held.get(("t", session))
        return held and held[0]

    async def keep_session(self, tenant: str, session: str, revision: str, block: Any) -> None:
        self.asked += 1
        await self.gate.wait()
        if self.away:
            raise Overloaded
        self.held[tenant, session] = revision, block
        self.kept += 1

    async def session_state(self, tenant: str, session: str) -> tuple[str, list[Any]] | None:
        if self.away:
            raise Overloaded
        found = self.held.get((tenant, session))
        return (found[0], [There(found[1])]) if found else None


def _make(
    engine: Engine,
    threads: ExitStack,
    hot_bytes: int = 2**28,
    get_timeout_s: float = 5.0,
    states: Pool | None = None,
) -> Tracker:
    async def expand(embedding: Embedding) -> Features:
        return engine.expand(embedding)

    thread = threads.enter_context(ModelThread("track"))
    post = threads.enter_context(ThreadPoolExecutor(1))
    return Tracker(
        engine,
        thread,
        post,
        expand,
        Metrics(),
        batch_size=16,
        batch_wait_s=0,
        hot_bytes=hot_bytes,
        idle_s=60,
        get_timeout_s=get_timeout_s,
        states=states,
    )


class Video:
    """A session as an ingress keeps it: its record, and its revision."""

    def __init__(self, engine: Engine, rules: SessionRules = RED, session: str = "s") -> None:
        self.engine, self.session = engine, session
        self.record, self.revision = Record(rules, began=0.0), "begin"

    def job(self, *numbers: int, prompts: FramePrompts = NO_PROMPTS, **changed: Any) -> TrackJob:
        frames = tuple(
            EncodedFrame(
                number,
                SIZE,
                [There(encoded(self.engine, number))],
                prompts if row == 0 else NO_PROMPTS,
                number**2 / 10,
            )
            for row, number in enumerate(numbers)
        )
        job = TrackJob("t", self.session, self.revision, self.record, uuid.uuid4().hex, frames, "rle")
        return replace(job, **changed)

    async def send(
        self, tracker: Tracker, *numbers: int, prompts: FramePrompts = NO_PROMPTS
    ) -> list[dict[str, Any]]:
        job = self.job(*numbers, prompts=prompts)
        reply = await tracker.answer(job)
        assert isinstance(reply, Tracked), reply
        self.record, self.revision, self.resumed = reply.record, job.revision, reply.resumed
        return [orjson.loads(one) for one in reply.answers]


_embeddings: dict[int, Embedding] = {}


def encoded(engine: Engine, number: int) -> Embedding:
    if number not in _embeddings:
        square = decode_picture(frame(number), engine.spec.image_size).square
        _embeddings[number] = engine.encode([square])[0]
    return _embeddings[number]


async def until(held: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not held():
            await asyncio.sleep(0.005)


class There:
    """Stands for a reference to an object that is there."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Generator[None, None, Any]:
        yield
        return self.value


class Never:
    """Stands for a reference to an object that does not come."""

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.Event().wait().__await__()


def click(x: float, y: float, object_id: int | None = None) -> FramePrompts:
    return FramePrompts((ObjectPrompt(object_id, VisualPrompt((Point(x, y),)), "ball"),))


def centre(shown: dict[str, Any]) -> tuple[float, float]:
    box = shown["box"]
    return (box["x0"] + box["x1"]) / 2, (box["y0"] + box["y1"]) / 2


async def test_an_object_is_found_and_keeps_its_id(engine: Engine, tracker: Tracker) -> None:
    video = Video(engine)
    answers = await video.send(tracker, 0, 1, 2)
    assert [one["frame"] for one in answers] == [0, 1, 2]
    for number, answer in enumerate(answers):
        (shown,) = answer["objects"]
        assert (shown["id"], shown["label"]) == (1, "red circle")
        assert centre(shown) == pytest.approx(red_at(number), abs=8)
        assert answer["warnings"] == []
    assert [one["seconds"] for one in answers] == [0.0, 0.1, 0.4], "as the file says, not as the number"
    assert (video.record.frame, video.record.next_id, video.record.seconds) == (2, 2, 0.4)
    assert [one.id for one in video.record.objects] == [1]


async def test_a_state_that_is_here_is_gone_on_from(engine: Engine, tracker: Tracker) -> None:
    video = Video(engine)
    await video.send(tracker, 0)
    await video.send(tracker, 1)
    assert video.resumed == "hot"


async def test_another_decoder_goes_on_by_masks_under_the_same_ids(
    engine: Engine, tracker: Tracker, make: Callable[..., Tracker]
) -> None:
    video = Video(engine)
    await video.send(tracker, 0, 1)
    other = make()
    (answer,) = await video.send(other, 2)
    assert video.resumed == "masks"
    assert answer["warnings"]
    (shown,) = answer["objects"]
    assert (shown["id"], shown["label"]) == (1, "red circle")
    assert centre(shown) == pytest.approx(red_at(2), abs=8)
    (answer,) = await video.send(other, 3)
    assert (video.resumed, answer["warnings"]) == ("hot", [])


async def test_a_state_that_was_saved_is_gone_on_from_without_a_warning(
    engine: Engine, make: Callable[..., Tracker]
) -> None:
    pool, alone, video = Pool(), Video(engine, session="alone"), Video(engine)
    one, other = make(states=pool), make(states=pool)
    await alone.send(one, 0, 1, 2)
    expected = await alone.send(one, 3)
    await video.send(one, 0, 1, 2)
    await until(lambda: pool.revision("s") == video.revision)
    answers = await video.send(other, 3)
    assert video.resumed == "warm"
    assert answers == expected, "as if the decoder had not died"


async def test_a_state_that_is_some_frames_old_does_too(engine: Engine, make: Callable[..., Tracker]) -> None:
    pool, video = Pool(), Video(engine)
    one, other = make(states=pool), make(states=pool)
    await video.send(one, 0)
    await until(lambda: bool(pool.held))
    pool.away = True
    await video.send(one, 1)
    pool.away = False
    (answer,) = await video.send(other, 2)
    assert (video.resumed, answer["warnings"]) == ("warm", [])
    assert [one["id"] for one in answer["objects"]] == [1]


async def test_a_state_of_a_job_that_did_not_count_is_not_gone_on_from(
    engine: Engine, make: Callable[..., Tracker]
) -> None:
    pool, video = Pool(), Video(engine)
    one, other = make(states=pool), make(states=pool)
    await video.send(one, 0)
    await one.answer(video.job(1, 2))
    await until(lambda: pool.revision("s") not in (None, video.revision))
    (answer,) = await video.send(other, 1)
    assert video.resumed == "masks"
    assert [one["id"] for one in answer["objects"]] == [1]


async def test_a_frame_with_prompts_is_answered_when_its_state_is_saved(
    engine: Engine, make: Callable[..., Tracker]
) -> None:
    pool, video = Pool(), Video(engine, SessionRules())
    await video.send(make(states=pool), 0, prompts=click(*red_at(0)))
    assert pool.held["t", "s"][0] == video.revision


async def test_a_state_that_is_long_on_its_way_does_not_replace_a_newer_one(
    engine: Engine, make: Callable[..., Tracker]
) -> None:
    pool, video = Pool(), Video(engine, SessionRules())
    tracker = make(states=pool)
    pool.gate.clear()
    await video.send(tracker, 0)
    await until(lambda: pool.asked == 1)
    prompted = asyncio.create_task(video.send(tracker, 1, prompts=click(*red_at(1))))
    await asyncio.wait([prompted], timeout=1)
    pool.gate.set()
    await prompted
    await until(lambda: pool.kept == 2)
    assert pool.revision("s") == video.revision


async def test_a_state_that_cannot_be_read_is_as_none(engine: Engine, make: Callable[..., Tracker]) -> None:
    pool, video = Pool(), Video(engine)
    await video.send(make(states=pool), 0)
    await until(lambda: bool(pool.held))
    pool.held["t", "s"] = "r", np.frombuffer(b"no state", dtype=np.uint8)
    await video.send(make(states=pool), 1)
    assert video.resumed == "masks"
    pool.away = True
    await video.send(make(states=pool), 2)
    assert video.resumed == "masks"


async def test_a_job_that_is_repeated_is_answered_alike(engine: Engine, tracker: Tracker) -> None:
    video = Video(engine)
    await video.send(tracker, 0)
    first, second = video.job(1), video.job(1)
    replies = [await tracker.answer(first), await tracker.answer(second)]
    assert all(isinstance(one, Tracked) and one.resumed == "hot" for one in replies)
    assert replies[0].answers == replies[1].answers  # type: ignore[union-attr]


async def test_a_click_begins_an_object_and_another_one_moves_it(engine: Engine, tracker: Tracker) -> None:
    video = Video(engine, SessionRules())
    (answer,) = await video.send(tracker, 0, prompts=click(*red_at(0)))
    (shown,) = answer["objects"]
    assert (shown["id"], shown["label"]) == (1, "ball")
    assert centre(shown) == pytest.approx(red_at(0), abs=8)
    (answer,) = await video.send(tracker, 0, prompts=click(*red_at(0), object_id=1))
    assert [one["id"] for one in answer["objects"]] == [1]
    (answer,) = await video.send(tracker, 1, prompts=FramePrompts((ObjectPrompt(1, None),)))
    assert (answer["objects"], video.record.objects) == ([], ())


async def test_texts_that_come_later_are_looked_for_at_once(engine: Engine, tracker: Tracker) -> None:
    video = Video(engine, SessionRules(every=0))
    await video.send(tracker, 0)
    video.record = video.record.looking_for((ConceptPrompt("red circle"),))
    (answer,) = await video.send(tracker, 1)
    assert [one["label"] for one in answer["objects"]] == ["red circle"]


async def test_sessions_of_equal_names_of_two_tenants_are_two(engine: Engine, tracker: Tracker) -> None:
    video = Video(engine)
    await video.send(tracker, 0)
    reply = await tracker.answer(video.job(1, tenant="other"))
    assert isinstance(reply, Tracked)
    assert reply.resumed == "masks"


async def test_an_embedding_that_is_lost_or_late_is_asked_for_again(
    engine: Engine, make: Callable[..., Tracker]
) -> None:
    tracker = make(get_timeout_s=0.05)
    video = Video(engine)
    job = video.job(0)
    late = replace(job, frames=(replace(job.frames[0], reference=[Never()]),))
    need = NeedImage(engine.embedding_version, engine.spec.image_size)
    assert await tracker.answer(late) == need
    stale = replace(encoded(engine, 0), version="another model")
    other = replace(job, frames=(replace(job.frames[0], reference=[There(stale)]),))
    assert await tracker.answer(other) == need
    assert await tracker.answer(replace(job, frames=())) == need


async def test_a_deadline_that_has_passed_is_told(engine: Engine, tracker: Tracker) -> None:
    assert await tracker.answer(Video(engine).job(0, deadline=LONG_AGO)) == Expired()


async def test_states_have_a_budget_of_bytes_and_can_be_dropped(
    engine: Engine, make: Callable[..., Tracker]
) -> None:
    tracker = make(hot_bytes=1)
    one, other = Video(engine, session="one"), Video(engine, session="other")
    await one.send(tracker, 0)
    await other.send(tracker, 0)
    await one.send(tracker, 1)
    assert one.resumed == "masks"
    assert tracker.held_bytes > 0
    assert tracker.forget("t", "one")
    assert not tracker.forget("t", "one")
    assert tracker.held_bytes == 0
