import asyncio
import inspect
from collections import OrderedDict
from typing import Any, cast

import pytest
from ray.exceptions import ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentBroadcastResponse, DeploymentHandle

from deployments.protocol import Overloaded
from deployments.ray.calls import call


class Response:
    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def __await__(self) -> Any:
        return self._get().__await__()

    async def _get(self) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome == "hang":
            await asyncio.sleep(60)
        return self.outcome


class Handle:
    """A DeploymentHandle whose calls have the outcomes that it is given."""

    def __init__(self, *outcomes: Any) -> None:
        self.responses = [Response(outcome) for outcome in outcomes]
        self.calls: list[tuple[Any, ...]] = []
        self.chosen: dict[str, str] = OrderedDict()

    def options(self, **options: str) -> "Handle":
        self.chosen = options
        return self

    def remote(self, *args: Any) -> Response:
        self.calls.append(args)
        return self.responses[len(self.calls) - 1]


async def ask(handle: Handle, **options: Any) -> Any:
    return await call(cast("DeploymentHandle[Any]", handle), "run", "job", **options)


def gone() -> ActorUnavailableError:
    return ActorUnavailableError("gone", b"0" * 16)


async def test_a_call_is_routed_by_its_key() -> None:
    handle = Handle("answer")
    assert await ask(handle, affinity="key") == "answer"
    assert handle.chosen == {"method_name": "run", "session_id": "key"}
    assert handle.calls == [("job",)]


async def test_a_call_without_a_key_goes_anywhere() -> None:
    handle = Handle("answer")
    await ask(handle)
    assert handle.chosen == {"method_name": "run"}


async def test_a_dead_replica_means_one_more_try() -> None:
    handle = Handle(gone(), "answer")
    assert await ask(handle) == "answer"
    assert len(handle.calls) == 2


async def test_the_second_death_is_an_error() -> None:
    handle = Handle(gone(), gone(), "answer")
    with pytest.raises(ActorUnavailableError):
        await ask(handle)


async def test_full_queues_are_an_overload_and_not_tried_again() -> None:
    handle = Handle(BackPressureError(num_queued_requests=5, max_queued_requests=5), "answer")
    with pytest.raises(Overloaded) as raised:
        await ask(handle, retry_after_s=3.0)
    assert raised.value.retry_after_s == 3.0
    assert len(handle.calls) == 1


async def test_errors_of_the_method_are_raised_as_they_are() -> None:
    handle = Handle(ValueError("no"), "answer")
    with pytest.raises(ValueError, match="no"):
        await ask(handle)
    assert len(handle.calls) == 1


async def test_errors_of_an_actors_task_are_those_of_the_method() -> None:
    error = RayTaskError("run", "traceback", Overloaded(3.0)).as_instanceof_cause()
    with pytest.raises(Overloaded) as raised:
        await ask(Handle(error, "answer"), references=True)
    assert type(raised.value) is Overloaded
    assert raised.value.retry_after_s == 3.0


async def test_cancelling_cancels_the_replicas_work() -> None:
    handle = Handle("hang")
    running = asyncio.create_task(ask(handle))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert handle.responses[0].cancelled


def test_serves_handles_take_what_is_asked_of_them() -> None:
    """`connect` and `call` are told by it how a call is routed and sent."""
    options = inspect.signature(DeploymentHandle.options).parameters
    assert {"method_name", "session_id", "_by_reference"} <= options.keys()
    assert "self._init()" in inspect.getsource(DeploymentHandle._options), "so it knows its replicas at once"


def test_serve_answers_for_all_replicas_with_their_errors_in_place() -> None:
    results = inspect.signature(DeploymentBroadcastResponse.results_async).parameters
    assert {"timeout_s", "return_exceptions"} <= results.keys()
    assert "broadcast" in vars(DeploymentHandle)
