"""The encoders as a shard calls them, when replicas die or have another model: handles of this process."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError, RayServeException

from deployments.config import ENCODER, HedgeConfig
from deployments.hedging.pace import Pace
from deployments.messages import OtherModel, PixelsLost, Source
from deployments.observe.metrics import Metrics
from deployments.pool import encoders as module
from deployments.pool.embedding_pool import PoolBusy
from deployments.pool.encoders import Encoders
from deployments.protocol import DeadlineExceeded
from deployments.ray import replicas
from sam3_engine.errors import DeviceFull
from sam3_engine.types import ImageSize

IMAGE = Source(b"file", model="m", size=ImageSize(3, 4), deadline=None)
DIED = ActorDiedError()


class Response:
    """The answer of one call: an error, or a reference."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    async def _to_object_ref(self) -> Any:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        if self._outcome == "hang":
            await asyncio.sleep(60)
        return self._outcome


class Handle:
    """Gives the outcomes that it is given, one per call."""

    def __init__(self, *outcomes: Any) -> None:
        self.responses = [Response(outcome) for outcome in outcomes]
        self.calls = 0
        self.sessions: list[str] = []

    def options(self, **options: Any) -> "Handle":
        if "session_id" in options:
            self.sessions.append(options["session_id"])
        else:
            assert options == {"method_name": "encode", "_by_reference": True}
        return self

    def remote(self, image: Source) -> Response:
        self.calls += 1
        return self.responses[self.calls - 1]


@pytest.fixture
def handles(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Serve's answers when it is asked for the encoders, in turn: handles, or errors that are raised."""
    found: list[Any] = []

    def get(deployment: str, app: str) -> Any:
        first = found.pop(0)
        if isinstance(first, Exception):
            raise first
        return first

    async def settled(reference: str, waiters: object) -> int:
        return 10

    monkeypatch.setattr(module, "serve", SimpleNamespace(get_deployment_handle=get))
    monkeypatch.setattr(module, "settled", settled)
    monkeypatch.setattr(module, "CONNECT_S", 0.01)
    return found


def encoders_of_pool(after_s: float = 60.0, share: float = 0.02) -> Encoders:
    return Encoders("sam3", 1, HedgeConfig(after_s, share), Metrics(), (ENCODER,))


async def encoded(handles: list[Any], *outcomes: Any) -> tuple[Any, int]:
    """The result of an encode, and the number of calls that it took."""
    handle = Handle(*outcomes)
    handles.append(handle)
    return (await encoders_of_pool().encode(IMAGE))[0], handle.calls


@pytest.mark.parametrize(
    ("outcomes", "calls"),
    [
        (["reference"], 1),
        ([DIED, "reference"], 2),
        ([OtherModel(), OtherModel(), OtherModel(), "reference"], 4),
        ([OtherModel(), DIED, OtherModel(), "reference"], 4),
    ],
)
async def test_another_encoder_is_asked(handles: list[Any], outcomes: list[Any], calls: int) -> None:
    assert await encoded(handles, *outcomes) == ("reference", calls)


@pytest.mark.parametrize(
    ("outcomes", "error"),
    [
        ([DIED, DIED, "reference"], ActorDiedError),
        ([OtherModel(), OtherModel(), OtherModel(), OtherModel(), "reference"], OtherModel),
        ([OtherModel(), OtherModel(), OtherModel(), DIED, "reference"], ActorDiedError),
        ([BackPressureError(num_queued_requests=1, max_queued_requests=1), "reference"], PoolBusy),
        ([DeadlineExceeded(), "reference"], DeadlineExceeded),
        ([PixelsLost(), "reference"], PixelsLost),
        ([DeviceFull(), "reference"], DeviceFull),
        ([RuntimeError("broken"), "reference"], RuntimeError),
    ],
)
async def test_it_gives_up(handles: list[Any], outcomes: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await encoded(handles, *outcomes)


async def test_leaving_cancels_the_call(handles: list[Any]) -> None:
    handle = Handle("hang")
    encoders = encoders_of_pool()
    handles.append(handle)
    await encoders.connect()
    running = asyncio.create_task(encoders.encode(IMAGE))
    while not handle.calls:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert handle.responses[0].cancelled


async def test_encoders_that_are_not_deployed_yet_are_looked_for_again(handles: list[Any]) -> None:
    handles.extend([RayServeException("not yet"), RayServeException("not yet"), Handle("reference")])
    encoders = encoders_of_pool()
    await encoders.connect()
    assert handles == []
    assert await encoders.encode(IMAGE) == ("reference", 10)


async def test_an_encode_that_takes_far_too_long_is_sent_to_another_encoder(
    handles: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "patience_s", lambda *_: 0.01)
    seen = replicas.Replicas()
    seen.update("ab")
    monkeypatch.setattr(module, "replicas_of", lambda app, name: {("sam3", ENCODER): seen}[app, name])
    handle = Handle("hang", "reference")
    handles.append(handle)
    pool = encoders_of_pool()
    running = asyncio.create_task(pool.encode(IMAGE))
    while not handle.sessions:
        await asyncio.sleep(0)
    seen.sent(handle.sessions[0], "a")
    assert await running == ("reference", 10)
    assert handle.calls == len(set(handle.sessions)) == 2
    await asyncio.sleep(0)
    assert handle.responses[0].cancelled


async def test_without_hedges_an_encode_has_no_session(handles: list[Any]) -> None:
    handle = Handle("reference")
    handles.append(handle)
    assert await encoders_of_pool(share=0.0).encode(IMAGE) == ("reference", 10)
    assert handle.sessions == []


async def test_each_image_goes_to_the_encoders_of_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"one": Handle("first"), "two": Handle("second")}
    found = [both["one"], both["two"]]
    asked: list[str] = []

    def get(deployment: str, app: str) -> Handle:
        asked.append(deployment)
        return both[deployment]

    async def settled(reference: str, waiters: object) -> int:
        return 10

    monkeypatch.setattr(module, "serve", SimpleNamespace(get_deployment_handle=get))
    monkeypatch.setattr(module, "settled", settled)
    encoders = Encoders("sam3", 1, HedgeConfig(60.0, 0.02), Metrics(), ("one", "two"))
    assert await encoders.encode(replace(IMAGE, encoder="two")) == ("second", 10)
    assert await encoders.encode(replace(IMAGE, encoder="one")) == ("first", 10)
    assert asked == ["two", "one"]
    assert [handle.calls for handle in found] == [1, 1]


async def test_where_an_update_took_the_encoders_away_those_of_equal_weights_encode(
    handles: list[Any],
) -> None:
    other, equal = Handle(*[OtherModel()] * 4), Handle("reference")
    handles += [other, equal]
    encoders = Encoders("sam3", 1, HedgeConfig(60.0, 0.02), Metrics(), ("one", "two"))
    assert await encoders.encode(replace(IMAGE, encoder="gone")) == ("reference", 10)


async def test_where_no_encoders_have_equal_weights_the_decoder_is_told(handles: list[Any]) -> None:
    handles.append(Handle(*[OtherModel()] * 4))
    encoders = Encoders("sam3", 1, HedgeConfig(60.0, 0.02), Metrics(), ("one",))
    with pytest.raises(OtherModel):
        await encoders.encode(replace(IMAGE, encoder="gone"))
