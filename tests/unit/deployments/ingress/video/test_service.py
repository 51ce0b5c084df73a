"""Sessions of videos as the ingress serves them, around a tracker without a model."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import orjson
import pytest

from deployments.ingress.video.answers import KEPT_ANSWERS
from deployments.ingress.video.chunks import CHUNK
from deployments.ingress.video.service import VideoSessions
from deployments.observe.metrics import Metrics
from deployments.protocol import DeadlineExceeded, Overloaded, Timings
from deployments.store.sessions import SessionLimits
from deployments.video.protocol import FramePrompts, OutOfOrder, SessionCall, SessionRules, UnknownSession
from sam3_engine.errors import UnreadableImage
from sam3_engine.types import ConceptPrompt
from tests.support.clips import clip, picture
from tests.support.fake_video import FakeTracking, fake_video
from tests.support.memory_sessions import MemorySessions
from tests.unit.deployments.fakes import FileSource

RED = SessionRules((ConceptPrompt("red circle"),), every=1)
ROOMY = SessionLimits(10, 10**8)


@pytest.fixture
def tracking() -> FakeTracking:
    return FakeTracking()


@pytest.fixture
def store() -> MemorySessions:
    return MemorySessions()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def service(tracking: FakeTracking, store: MemorySessions, metrics: Metrics) -> VideoSessions:
    return fake_video(tracking, store, metrics)


def about(session: str) -> SessionCall:
    return SessionCall("t", session, "rle", ROOMY)


async def begin(service: VideoSessions) -> str:
    return (await service.open("t", RED, ROOMY)).session_id


async def send(
    service: VideoSessions,
    session: str,
    *numbers: int,
    first: int | None = None,
    limits: SessionLimits = ROOMY,
    deadline: float | None = None,
) -> list[dict[str, Any]]:
    answers = await service.frames(
        SessionCall("t", session, "rle", limits),
        [FileSource(picture(number)) for number in numbers],
        first,
        FramePrompts(),
        Timings("request", deadline),
    )
    return [orjson.loads(one) for one in answers]


async def prompt(service: VideoSessions, session: str) -> dict[str, Any]:
    asked = FramePrompts(concepts=(ConceptPrompt("blue square"),))
    answer = await service.prompt(about(session), asked, None, Timings("request"))
    return dict(orjson.loads(answer))


async def test_requests_for_one_session_are_answered_one_after_the_other(service: VideoSessions) -> None:
    session = await begin(service)
    answers = await asyncio.gather(*(send(service, session, number) for number in range(5)))
    assert sorted(one["frame"] for (one,) in answers) == [0, 1, 2, 3, 4]


async def test_of_two_processes_that_get_the_same_frame_both_answer_alike(
    tracking: FakeTracking, store: MemorySessions, metrics: Metrics
) -> None:
    one, other = fake_video(tracking, store, metrics), fake_video(tracking, store, metrics)
    session = await begin(one)
    answers = await asyncio.gather(*(send(each, session, 0, first=0) for each in (one, other, one, other)))
    assert all(answer == answers[0] for answer in answers)
    assert (await one.session("t", session)).next_frame == 1


async def test_of_two_different_pictures_for_one_frame_one_counts(
    tracking: FakeTracking, store: MemorySessions
) -> None:
    one, other = fake_video(tracking, store), fake_video(tracking, store)
    session = await begin(one)
    outcomes = await asyncio.gather(
        send(one, session, 0, first=0), send(other, session, 1, first=0), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, OutOfOrder)]
    assert [error.expected for error in refused] == [1]


async def test_frames_of_other_processes_without_numbers_follow_one_another(
    tracking: FakeTracking, store: MemorySessions
) -> None:
    services = [fake_video(tracking, store) for _ in range(3)]
    session = await begin(services[0])
    answers = await asyncio.gather(*(send(each, session, 0) for each in services))
    assert sorted(one["frame"] for (one,) in answers) == [0, 1, 2]


async def test_a_decoder_that_was_replaced_goes_on_by_masks_with_the_same_ids(
    service: VideoSessions, tracking: FakeTracking, metrics: Metrics
) -> None:
    session = await begin(service)
    await send(service, session, 0, 1)
    tracking.die()
    (answer,) = await send(service, session, 2)
    assert [one["id"] for one in answer["objects"]] == [1]
    assert answer["warnings"]
    assert metrics.values['sam3_video_resumed_total{tier="masks"}'] == 1


async def test_an_embedding_that_is_lost_is_made_again(
    service: VideoSessions, tracking: FakeTracking
) -> None:
    session = await begin(service)
    tracking.lost = 2
    assert (await send(service, session, 0))[0]["frame"] == 0
    assert tracking.encoded == 3


async def test_it_gives_up_when_embeddings_are_always_lost(
    service: VideoSessions, tracking: FakeTracking
) -> None:
    session = await begin(service)
    tracking.lost = 99
    with pytest.raises(Overloaded):
        await send(service, session, 0)
    tracking.lost = 0
    assert (await send(service, session, 0))[0]["frame"] == 0, "nothing was kept of the failure"


async def test_while_an_update_replaces_the_model_another_decoder_is_asked(
    service: VideoSessions, tracking: FakeTracking
) -> None:
    session = await begin(service)
    tracking.other_models = 2
    await send(service, session, 0)
    assert tracking.jobs[-1].elsewhere == 2


async def test_a_frame_that_cannot_be_read_answers_none_of_its_request(service: VideoSessions) -> None:
    session = await begin(service)
    with pytest.raises(UnreadableImage):
        await service.frames(
            about(session),
            [FileSource(picture(0)), FileSource(b"no picture")],
            None,
            FramePrompts(),
            Timings("request"),
        )
    assert (await service.session("t", session)).next_frame == 0


async def test_answers_of_the_last_frames_are_kept_and_earlier_ones_are_not(service: VideoSessions) -> None:
    session = await begin(service)
    for number in range(KEPT_ANSWERS + 3):
        await send(service, session, number, first=number)
    await send(service, session, 3, first=3)
    with pytest.raises(OutOfOrder, match="no answer of it is kept"):
        await send(service, session, 2, first=2)


async def test_a_session_beyond_its_bytes_goes_on_and_only_prompts_need_a_frame(
    service: VideoSessions,
) -> None:
    session = await begin(service)
    small = SessionLimits(10, 1000)
    await send(service, session, 0, limits=small)
    with pytest.raises(OutOfOrder, match="send the prompts with the next frame"):
        await prompt(service, session)
    assert (await send(service, session, 1, limits=small))[0]["frame"] == 1


async def test_prompts_that_come_again_count_once(service: VideoSessions) -> None:
    session = await begin(service)
    await send(service, session, 0)
    answers = [await prompt(service, session) for _ in range(2)]
    assert answers[0] == answers[1]
    assert len((await service.session("t", session)).rules.concepts) == 2
    await send(service, session, 1)
    await prompt(service, session)
    assert len((await service.session("t", session)).rules.concepts) == 3, (
        "of another frame, they are new ones"
    )


async def test_prompts_count_for_the_frame_that_was_answered_last(service: VideoSessions) -> None:
    session = await begin(service)
    await send(service, session, 0)
    answer = await prompt(service, session)
    assert (answer["frame"], [one["label"] for one in answer["objects"]]) == (0, ["blue square"])
    (after,) = await send(service, session, 1, first=1)
    assert [one["id"] for one in after["objects"]] == [1, 2]


async def test_a_session_that_ends_meanwhile_is_not_brought_back(
    service: VideoSessions, tracking: FakeTracking
) -> None:
    session = await begin(service)
    tracking.gate = asyncio.Event()
    sending = asyncio.create_task(send(service, session, 0))
    while not tracking.jobs:
        await asyncio.sleep(0)
    await service.end("t", session)
    tracking.gate.set()
    with pytest.raises(UnknownSession):
        await sending
    assert tracking.forgotten == [("t", session)]
    assert await service.sessions("t") == []


async def test_the_deadline_ends_a_wait(service: VideoSessions, tracking: FakeTracking) -> None:
    session = await begin(service)
    tracking.gate = asyncio.Event()
    with pytest.raises(DeadlineExceeded):
        await send(service, session, 0, deadline=time.time() + 0.1)
    tracking.gate.set()
    assert (await send(service, session, 0, first=0))[0]["frame"] == 0


async def test_a_client_that_leaves_lets_the_next_one_in(
    service: VideoSessions, tracking: FakeTracking
) -> None:
    session = await begin(service)
    tracking.gate = asyncio.Event()
    sending = asyncio.create_task(send(service, session, 0))
    while not tracking.jobs:
        await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    tracking.gate.set()
    assert (await send(service, session, 0, first=0))[0]["frame"] == 0


async def propagated(service: VideoSessions, session: str, **bounds: int | None) -> AsyncGenerator[bytes]:
    @asynccontextmanager
    async def place() -> AsyncIterator[Timings]:
        yield Timings("request")

    first, last = bounds.get("first"), bounds.get("last")
    async with aclosing(service.propagate(about(session), first, last, place)) as frames:
        async for one in frames:
            assert isinstance(one, bytes)
            yield one


async def test_a_file_is_answered_frame_by_frame(service: VideoSessions) -> None:
    session = (await service.open("t", RED, ROOMY, clip(6))).session_id
    answers = [orjson.loads(one) async for one in propagated(service, session)]
    assert [one["frame"] for one in answers] == list(range(6))
    assert [one["id"] for found in answers for one in found["objects"]] == [1] * 6


async def test_a_client_that_goes_away_stops_the_reading_and_the_model(
    service: VideoSessions, tracking: FakeTracking
) -> None:
    session = (await service.open("t", RED, ROOMY, clip(40))).session_id
    frames = propagated(service, session)
    await anext(frames)
    await frames.aclose()
    assert len(tracking.jobs) == 1
    assert tracking.encoded <= 3 * CHUNK
    answers = [orjson.loads(one) async for one in propagated(service, session, first=1, last=9)]
    assert [one["frame"] for one in answers] == list(range(1, 10)), "another request goes on from there"


async def test_prompts_between_two_parts_of_a_stream_count(
    service: VideoSessions, tracking: FakeTracking
) -> None:
    session = (await service.open("t", RED, ROOMY, clip(9))).session_id
    frames = propagated(service, session)
    for _ in range(CHUNK):
        await anext(frames)
    assert [one["label"] for one in (await prompt(service, session))["objects"]] == ["blue square"]
    rest = [orjson.loads(one) async for one in frames]
    assert [one["frame"] for one in rest] == list(range(CHUNK, 9))
    assert [one["id"] for one in rest[0]["objects"]] == [1, 2]


async def test_prompts_for_a_frame_beyond_the_file_name_the_frame_that_is_expected(
    service: VideoSessions,
) -> None:
    session = (await service.open("t", RED, ROOMY, clip(3))).session_id
    asked = FramePrompts(concepts=(ConceptPrompt("blue square"),))
    with pytest.raises(OutOfOrder, match="no frame 7") as refused:
        await service.prompt(about(session), asked, 7, Timings("request"))
    assert refused.value.expected == 0


async def test_another_stream_that_goes_on_with_a_session_ends_this_one(
    service: VideoSessions,
) -> None:
    session = (await service.open("t", RED, ROOMY, clip(20))).session_id
    frames = propagated(service, session)
    await anext(frames)
    assert len([one async for one in propagated(service, session, last=9)]) > 0
    with pytest.raises(OutOfOrder, match="another request"):
        _ = [one async for one in frames]


async def test_a_newer_stream_goes_on_after_the_frames_that_are_under_way(
    service: VideoSessions, tracking: FakeTracking
) -> None:
    session = (await service.open("t", RED, ROOMY, clip(20))).session_id
    earlier = propagated(service, session)
    for _ in range(CHUNK):
        await anext(earlier)
    tracking.gate = asyncio.Event()
    under_way = asyncio.create_task(anext(earlier))
    while len(tracking.jobs) < 2:
        await asyncio.sleep(0.01)
    newer = propagated(service, session, first=CHUNK)
    going_on = asyncio.create_task(anext(newer))
    await asyncio.sleep(0.05)
    tracking.gate.set()
    numbers = [orjson.loads(await going_on)["frame"], *[orjson.loads(one)["frame"] async for one in newer]]
    assert numbers == list(range(CHUNK, 20)), "what the earlier stream has answered comes again"
    assert orjson.loads(await under_way)["frame"] == CHUNK
    with pytest.raises(OutOfOrder, match="another request"):
        _ = [one async for one in earlier]


async def test_of_streams_that_begin_together_the_newest_goes_on(
    service: VideoSessions, tracking: FakeTracking
) -> None:
    session = (await service.open("t", RED, ROOMY, clip(20))).session_id
    streams = [propagated(service, session) for _ in range(3)]
    for _ in range(CHUNK):
        await anext(streams[0])
    tracking.gate = asyncio.Event()
    under_way = [asyncio.create_task(anext(streams[0]))]
    while len(tracking.jobs) < 2:
        await asyncio.sleep(0.01)
    for stream in streams[1:]:
        under_way.append(asyncio.create_task(anext(stream)))
        await asyncio.sleep(0.05)
    tracking.gate.set()
    _, older, newest = await asyncio.gather(*under_way, return_exceptions=True)
    assert isinstance(older, OutOfOrder), older
    assert isinstance(newest, bytes), newest
    numbers = [orjson.loads(one)["frame"] for one in [newest, *[one async for one in streams[2]]]]
    assert numbers == list(range(2 * CHUNK, 20))


async def test_answers_that_are_kept_come_again_beside_a_stream(service: VideoSessions) -> None:
    session = (await service.open("t", RED, ROOMY, clip(12))).session_id
    frames = propagated(service, session)
    for _ in range(CHUNK):
        await anext(frames)
    assert len([one async for one in propagated(service, session, first=1, last=2)]) == 2
    assert len([one async for one in frames]) == 12 - CHUNK


async def test_the_file_of_a_stream_that_is_not_read_is_let_go_when_another_one_begins(
    service: VideoSessions,
) -> None:
    session = (await service.open("t", RED, ROOMY, clip(20))).session_id
    unread = propagated(service, session)
    await anext(unread)
    (held,) = service._streams._streams.values()
    newer = propagated(service, session)
    await anext(newer)
    assert held.frames is not None
    assert held.frames.closed
    await newer.aclose()
    await unread.aclose()
    assert not service._streams._streams


async def test_a_session_that_takes_a_name_ends_the_one_before(
    service: VideoSessions, tracking: FakeTracking
) -> None:
    first = await service.open("t", RED, ROOMY, name="camera")
    await service.note("t", first.session_id, b"note")
    assert await service.named("t", "camera") == (first.session_id, b"note")
    second = await service.open("t", RED, ROOMY, name="camera")
    assert await service.named("t", "camera") == (second.session_id, b"")
    assert tracking.forgotten == [("t", first.session_id)]
    with pytest.raises(UnknownSession):
        await service.note("t", first.session_id, b"note")


async def restart(service: VideoSessions, session: str) -> int:
    return await service.restart(about(session), SessionRules(every=1), Timings("request"))


async def test_a_session_begins_anew_with_its_file_and_without_its_objects(service: VideoSessions) -> None:
    session = (await service.open("t", RED, ROOMY, clip(6))).session_id
    assert len([one async for one in propagated(service, session)]) == 6
    assert await restart(service, session) == 2
    info = await service.session("t", session)
    assert (info.next_frame, info.objects, info.rules) == (0, (), SessionRules(every=1))
    asked = FramePrompts(concepts=(ConceptPrompt("blue square"),))
    answer = orjson.loads(await service.prompt(about(session), asked, 3, Timings("request")))
    assert [(one["id"], one["label"]) for one in answer["objects"]] == [(2, "blue square")]
    after = [orjson.loads(one) async for one in propagated(service, session)]
    assert [one["frame"] for one in after] == [4, 5]
    assert [one["id"] for found in after for one in found["objects"]] == [2, 2]


async def test_the_same_prompts_count_again_after_a_new_beginning(
    service: VideoSessions, tracking: FakeTracking
) -> None:
    session = (await service.open("t", SessionRules(every=1), ROOMY, clip(6))).session_id
    asked = FramePrompts(concepts=(ConceptPrompt("blue square"),))
    for number in (1, 2):
        await restart(service, session)
        answer = orjson.loads(await service.prompt(about(session), asked, 3, Timings("request")))
        assert [one["id"] for one in answer["objects"]] == [number]


async def test_a_new_beginning_ends_the_stream(service: VideoSessions) -> None:
    session = (await service.open("t", RED, ROOMY, clip(20))).session_id
    frames = propagated(service, session)
    await anext(frames)
    await restart(service, session)
    with pytest.raises(OutOfOrder, match="another request"):
        _ = [one async for one in frames]


async def test_only_a_tenants_own_session_begins_anew(service: VideoSessions) -> None:
    session = (await service.open("other", RED, ROOMY, clip(3))).session_id
    with pytest.raises(UnknownSession):
        await restart(service, session)
