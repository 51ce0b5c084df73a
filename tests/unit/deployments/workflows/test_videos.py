"""A worker's questions about videos, and the sessions behind the answers."""

import asyncio
from typing import Any

import orjson
import pytest

from deployments.protocol import Timings
from deployments.store.sessions import SessionLimits
from deployments.workflows.limits import Limits
from deployments.workflows.models import ModelCalls
from deployments.workflows.videos import MOST_NOTE_BYTES, Beginnings, VideoCalls
from tests.support.clips import picture, red_at
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.fake_video import fake_video
from tests.support.memory_sessions import MemorySessions

LIMITS = Limits(timeout_s=5, max_model_calls=100, memory_bytes=2**30, max_image_pixels=10**6)
ROOMY = SessionLimits(10, 10**8)
ABOUT = {"step": "video", "video": "camera"}
CLICK = {"points": [dict(zip("xy", red_at(0), strict=True))]}
BEGIN = {**ABOUT, "method": "video_begin", "texts": ["red circle"], "image": {"file": 0}}
FIND = {**ABOUT, "method": "video_find"}


class Run:
    """One run of a workflow after another, on one store."""

    def __init__(
        self,
        store: MemorySessions,
        tenant: str = "acme",
        definition: Any = None,
        beginnings: Beginnings | None = None,
    ) -> None:
        videos = VideoCalls(fake_video(store=store), tenant, ROOMY, definition, beginnings)
        files = [picture(number) for number in range(3)]
        self.calls = ModelCalls(FakeSegmenter(), tenant, files, LIMITS, videos=videos)

    async def ask(self, header: dict[str, Any]) -> Any:
        """The results, as the worker gets them."""
        reply = await self.calls.answer(header, [], Timings("request"))
        return orjson.loads(orjson.dumps(reply))

    async def results(self, header: dict[str, Any]) -> Any:
        reply = await self.ask(header)
        assert "results" in reply, reply
        return reply["results"]


@pytest.fixture
def store() -> MemorySessions:
    return MemorySessions()


def follow(session: str, file: int = 1) -> dict[str, Any]:
    return {**ABOUT, "method": "video_follow", "session": session, "image": {"file": file}}


def note(session: str, said: Any) -> dict[str, Any]:
    return {**ABOUT, "method": "video_note", "session": session, "note": said}


async def test_a_later_run_finds_the_session_and_its_note(store: MemorySessions) -> None:
    first = Run(store)
    assert await first.results(FIND) is None
    begun = await first.results(BEGIN)
    assert [one["label"] for one in begun["frame"]["objects"]] == ["red circle"]
    await first.results(note(begun["session"], {"last": 0}))
    await first.calls.close()
    later = Run(store)
    assert await later.results(FIND) == {"session": begun["session"], "note": {"last": 0}}
    followed = await later.results(follow(begun["session"]))
    assert (followed["frame"]["frame"], followed["frame"]["objects"][0]["id"]) == (1, 1)


async def test_a_video_that_another_run_is_beginning_is_waited_for(store: MemorySessions) -> None:
    beginnings: Beginnings = {}
    first, second = Run(store, beginnings=beginnings), Run(store, beginnings=beginnings)
    assert await first.results(FIND) is None
    finding = asyncio.create_task(second.results(FIND))
    begun = await first.results(BEGIN)
    assert not finding.done()
    await first.results(note(begun["session"], {"last": 0}))
    assert (await finding)["session"] == begun["session"]
    assert beginnings == {}


async def test_a_beginning_that_breaks_off_lets_the_next_run_begin(store: MemorySessions) -> None:
    beginnings: Beginnings = {}
    first, second = Run(store, beginnings=beginnings), Run(store, beginnings=beginnings)
    assert await first.results(FIND) is None
    finding = asyncio.create_task(second.results(FIND))
    await asyncio.sleep(0)
    await first.calls.close()
    assert await finding is None
    begun = await second.results(BEGIN)
    await second.results(note(begun["session"], {}))
    assert beginnings == {}


async def test_runs_that_begin_videos_do_not_wait_for_each_other(store: MemorySessions) -> None:
    beginnings: Beginnings = {}
    other = {**FIND, "video": "other"}
    first, second = Run(store, beginnings=beginnings), Run(store, beginnings=beginnings)
    assert [await first.results(FIND), await second.results(other)] == [None, None]
    assert [await first.results(other), await second.results(FIND)] == [None, None]
    await first.calls.close()
    await second.calls.close()
    assert beginnings == {}


async def test_a_session_without_a_note_is_not_found_and_is_replaced(store: MemorySessions) -> None:
    broken_off = await Run(store).results(BEGIN)
    later = Run(store)
    assert await later.results(FIND) is None
    assert (await later.results(BEGIN))["session"] != broken_off["session"]
    assert store.open_sessions == 1


@pytest.mark.parametrize(
    ("tenant", "definition", "about"),
    [
        ("other", {"steps": [1]}, {}),
        ("acme", {"steps": [2]}, {}),
        ("acme", {"steps": [1]}, {"step": "other"}),
        ("acme", {"steps": [1]}, {"video": "other"}),
    ],
)
async def test_another_tenant_definition_step_or_video_finds_another_session(
    store: MemorySessions, tenant: str, definition: Any, about: dict[str, Any]
) -> None:
    own = Run(store, definition={"steps": [1]})
    begun = await own.results(BEGIN)
    await own.results(note(begun["session"], {}))
    assert await Run(store, definition={"steps": [1]}).results(FIND) is not None
    assert await Run(store, tenant, definition).results({**FIND, **about}) is None


async def test_a_run_reaches_no_session_that_it_has_not_found(store: MemorySessions) -> None:
    begun = await Run(store).results(BEGIN)
    later = Run(store)
    for header in (follow(begun["session"]), note(begun["session"], {}), follow("x" * 32)):
        assert (await later.ask(header))["status"] == 409
    assert later.calls.failure is None


async def test_a_video_without_a_name_ends_with_its_run(store: MemorySessions) -> None:
    run = Run(store)
    begun = await run.results({**BEGIN, "video": None})
    await run.results(follow(begun["session"]))
    assert store.open_sessions == 1
    await run.calls.close()
    assert store.open_sessions == 0


async def test_a_beginning_that_fails_leaves_no_session(store: MemorySessions) -> None:
    run = Run(store)
    outside = {**ABOUT, "method": "video_begin", "prompts": [{"points": [{"x": 1e5, "y": 1}]}]}
    assert (await run.ask({**outside, "image": {"file": 0}}))["status"] == 400
    await run.calls.close()
    assert store.open_sessions == 0


async def test_a_note_has_a_size(store: MemorySessions) -> None:
    run = Run(store)
    session = (await run.results(BEGIN))["session"]
    assert (await run.ask(note(session, "x" * MOST_NOTE_BYTES)))["status"] == 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"texts": []},
        {"texts": ["x"] * 17},
        {"texts": [5]},
        {"texts": [" "]},
        {"texts": ["x" * 1001]},
        {"texts": None, "step": 5},
        {"video": 5},
        {"step": None},
        {"prompts": []},
        {"prompts": [{}]},
        {"prompts": [CLICK] * 65},
        {"prompts": [{"points": [{"x": "1", "y": 1}]}]},
        {"prompts": 5},
        {"image": {"file": 7}},
        {"image": {}},
    ],
    ids=lambda wrong: str(wrong)[:50],
)
async def test_malformed_beginnings_are_refused(store: MemorySessions, wrong: dict[str, Any]) -> None:
    run = Run(store)
    header = {key: value for key, value in BEGIN.items() if not ("prompts" in wrong and key == "texts")}
    assert (await run.ask({**header, **wrong}))["status"] == 400
    assert run.calls.failure is None
    await run.calls.close()
    assert store.open_sessions == 0


async def test_a_server_without_videos_says_so() -> None:
    calls = ModelCalls(FakeSegmenter(), "acme", [picture(0)], LIMITS)
    for header in (FIND, BEGIN):
        reply = await calls.answer(header, [], Timings("request"))
        assert (reply["status"], "SAM3_VIDEO" in reply["message"]) == (501, True)
    await calls.close()


async def test_an_overloaded_tracker_fails_the_run_not_the_workflow(store: MemorySessions) -> None:
    run = Run(store)
    store.away = True
    assert (await run.ask(FIND))["status"] == 503
    assert run.calls.failure is not None
