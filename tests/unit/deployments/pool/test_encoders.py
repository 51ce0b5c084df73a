"""The encoders as a shard calls them, when replicas die or have another model: handles of this process."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError, RayServeException

from deployments.messages import OtherModel, PixelsLost, Source
from deployments.pool import encoders as module
from deployments.pool.embedding_pool import PoolBusy
from deployments.pool.encoders import Encoders
from deployments.protocol import DeadlineExceeded
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

    def options(self, **options: Any) -> "Handle":
        assert options == {"method_name": "encode", "_by_reference": True}
        return self

    def remote(self, image: Source) -> Response:
        self.calls += 1
        return self.responses[self.calls - 1]


@pytest.fixture
def handles(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Serve says when it is asked for the encoders: handles, or errors."""
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


async def encoded(handles: list[Any], *outcomes: Any) -> tuple[Any, int]:
    """What an encode gives, and how many calls that took."""
    handle = Handle(*outcomes)
    handles.append(handle)
    return (await Encoders("sam3", 1).encode(IMAGE))[0], handle.calls


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
    encoders = Encoders("sam3", 1)
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
    encoders = Encoders("sam3", 1)
    await encoders.connect()
    assert handles == []
    assert await encoders.encode(IMAGE) == ("reference", 10)
