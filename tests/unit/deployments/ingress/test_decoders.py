import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest
from ray.exceptions import ActorDiedError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from deployments.config import HedgeConfig
from deployments.ingress.decoders import ServeDecoders, kind
from deployments.keys import affinity
from deployments.messages import Answered, NeedImage, PromptJob, Warm
from deployments.observe.metrics import Metrics
from deployments.protocol import ConceptRequest, ModelStatus, Overloaded, VisualRequest
from deployments.ray.replicas import key_of, replicas_of
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt

JOB = PromptJob("t", "pet", None)
SIZE = ImageSize(3, 4)
GONE = ActorDiedError()
NO_REPLICA = DeploymentUnavailableError(DeploymentID("PromptDecoder", "sam3"))


async def gives(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


class Later:
    """Awaited like an ObjectRef."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Any:
        return gives(self.value).__await__()


class Handle:
    """Gives the outcomes that it is given, one per call; remembers how it was called."""

    app_name, deployment_name = "sam3", "PromptDecoder"

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.options_of: list[dict[str, str]] = []
        self.broadcasts: list[tuple[Any, ...]] = []

    def options(self, **options: str) -> "Handle":
        self.options_of.append(options)
        return self

    def remote(self, *_args: Any) -> Any:
        return Later(self.outcomes.pop(0))

    def broadcast(self, method: str, *args: Any) -> "Handle":
        self.broadcasts.append((method, *args))
        return self

    async def results_async(self, timeout_s: float, return_exceptions: bool) -> Any:
        return await gives(self.outcomes.pop(0))


def decoders(decoder: Handle, encoder: Handle | None = None, may_sleep: bool = False) -> ServeDecoders:
    handles = [cast("DeploymentHandle[Any]", handle) for handle in (decoder, encoder or Handle())]
    return ServeDecoders(handles[0], handles[1], 1.0, HedgeConfig(0.5, 0.02), Metrics(), may_sleep)


async def test_requests_for_one_image_go_the_same_way() -> None:
    handle = Handle(*[NeedImage("m", 16)] * 3)
    client = decoders(handle)
    for job in (JOB, JOB, PromptJob("t", "other", None)):
        await client.run(job)
    routes = [key_of(options["session_id"]) for options in handle.options_of]
    assert routes[0] == routes[1] != routes[2]
    assert "pet" not in routes[0]


async def test_a_job_that_holds_a_reference_is_sent_so_that_ray_sees_it() -> None:
    handle = Handle(*[Answered(SIZE, b"results", "hot")] * 2)
    client = decoders(handle)
    for job in (JOB, replace(JOB, warm=Warm(["reference"], SIZE, 1, 1))):
        await client.run(job)
    assert [options.get("_by_reference") for options in handle.options_of] == [None, True]


async def test_without_hedges_the_route_is_the_images_alone() -> None:
    handle = Handle(Answered(SIZE, b"results", "hot"))
    client = ServeDecoders(
        cast("DeploymentHandle[Any]", handle),
        cast("DeploymentHandle[Any]", Handle()),
        1.0,
        HedgeConfig(0.5, 0.0),
        Metrics(),
    )
    await client.run(JOB)
    assert handle.options_of[0]["session_id"] == affinity(JOB.tenant, JOB.digest)


def test_jobs_of_a_kind_are_as_much_work() -> None:
    one, two, three = (VisualRequest(prompts=[VisualPrompt((Point(1, 1),))] * count) for count in (1, 2, 3))
    concept = ConceptRequest(prompts=[ConceptPrompt("cat")])
    cold = Warm(["reference"], SIZE, 1, 1)
    jobs = [replace(JOB, request=request) for request in (None, one, two, concept)]
    assert len({*map(kind, jobs), kind(replace(jobs[1], warm=cold))}) == 5
    assert kind(replace(JOB, request=three)) == kind(jobs[2])
    assert kind(replace(jobs[1], tenant="other", digest="another")) == kind(jobs[1])


async def test_ready_when_decoder_and_encoder_answer_and_believed_for_a_while() -> None:
    decoder, encoder = Handle(True), Handle(True)
    client = decoders(decoder, encoder)
    assert await client.ready()
    assert await client.ready()
    assert len(decoder.options_of) == len(encoder.options_of) == 1


async def test_not_ready_when_one_of_them_fails_and_asked_again() -> None:
    client = decoders(Handle(True, True), Handle(RuntimeError("loading"), True))
    assert not await client.ready()
    assert await client.ready()


async def test_a_service_that_may_sleep_stays_ready_without_being_woken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deployments.ingress.decoders.READY_FOR_S", 0.0)
    decoder, encoder = Handle(True), Handle(True)
    client = decoders(decoder, encoder, may_sleep=True)
    assert await client.ready()
    assert await client.ready()
    assert len(decoder.options_of) == len(encoder.options_of) == 1


@pytest.mark.parametrize(
    ("answers", "held"),
    [
        ([False, True], True),
        ([False, False], False),
        ([False, GONE], False),
        ([GONE, True], True),
        (NO_REPLICA, False),
    ],
)
async def test_an_image_is_dropped_by_every_replica_that_lives(answers: Any, held: bool) -> None:
    handle = Handle(answers)
    assert await decoders(handle).forget("t", "digest", 5) is held
    assert handle.broadcasts == [("forget", "t", "digest", 5)]


async def test_a_replica_that_does_not_answer_is_asked_again() -> None:
    assert await decoders(Handle(TimeoutError(), [True])).forget("t", "digest", 5)
    assert await decoders(Handle([RuntimeError("no"), True], [False, False])).forget("t", "digest", 5)


async def test_a_deletion_that_a_replica_does_not_confirm_is_refused() -> None:
    with pytest.raises(Overloaded):
        await decoders(Handle(TimeoutError(), [False, RuntimeError("no")])).forget("t", "digest", 5)


async def test_hot_images_are_those_of_the_replicas_that_answer() -> None:
    answers = [["a", "b"], GONE, ["b", "c"]]
    assert await decoders(Handle(answers)).hot_images("t") == {"a", "b", "c"}
    assert await decoders(Handle(TimeoutError())).hot_images("t") == set()


async def test_a_models_state_is_known_without_waking_it() -> None:
    class Waiting(Later):
        def __await__(self) -> Any:
            return asyncio.sleep(60).__await__()

        def cancel(self) -> None:
            pass

    class Waits(Handle):
        deployment_name = "PromptDecoder-sleeper"

        def remote(self, *_args: Any) -> Any:
            return Waiting(None)

    handle = Waits()
    client, other = decoders(handle, may_sleep=True), decoders(handle)
    assert client.status() == ModelStatus("asleep", 0)
    assert other.status() == ModelStatus("loading", 0), "it never sleeps, so it is on its way"
    asking = asyncio.create_task(client.run(JOB))
    await asyncio.sleep(0)
    assert client.status() == ModelStatus("loading", 0)
    replicas_of("sam3", "PromptDecoder-sleeper").update(["a", "b"])
    assert client.status() == ModelStatus("ready", 2)
    asking.cancel()
    replicas_of("sam3", "PromptDecoder-sleeper").update([])
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert client.status() == ModelStatus("asleep", 0)


async def test_a_model_that_cannot_start_is_busy_and_no_fault_of_the_request() -> None:
    with pytest.raises(Overloaded):
        await decoders(Handle(NO_REPLICA)).run(JOB)
