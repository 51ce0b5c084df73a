import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from deployments.decoder.features import FeatureLoader, Found, HotImage
from deployments.decoder.job import JobRunner
from deployments.keys import ImageKey
from deployments.messages import Answered, Expired, NeedImage, PromptJob, Warm
from deployments.pool.names import Names
from deployments.protocol import DeadlineExceeded, PromptRequest, VisualRequest
from deployments.results import dump_results, load_results
from sam3_engine.types import ImageSize, Instance, VisualPrompt

CLICK = VisualRequest([VisualPrompt()])
SIZE = ImageSize(3, 4)


@dataclass
class Weight:
    nbytes: int = 1


@dataclass
class Pool:
    """Which digest an id names; `confirmed` holds the answers back until it is set."""

    bound: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: int = 0

    async def resolve(self, tenant: str, image_id: str, digest: str | None, received: float) -> str | None:
        self.asked.append((image_id, digest))
        try:
            await self.confirmed.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if digest:
            self.bound[image_id] = digest
        return self.bound.get(image_id)


@dataclass
class Loader:
    """Images by digest, hot or warm."""

    hot_images: set[str] = field(default_factory=set)
    warm_images: set[str] = field(default_factory=set)
    given: list[Warm | None] = field(default_factory=list)
    weighed: list[str] = field(default_factory=list)
    deleted_at: float = 0.0

    def hot(self, key: ImageKey) -> Found | None:
        return Found(HotImage(Weight(), SIZE), "hot") if key.digest in self.hot_images else None

    async def load(
        self, key: ImageKey, warm: Warm | None, deadline: float | None, received: float
    ) -> Found | None:
        self.given.append(warm)
        known = key.digest in self.warm_images or warm is not None
        return self.hot(key) or (Found(HotImage(Weight(), SIZE), "warm", 0.5) if known else None)

    def weigh_again(self, key: ImageKey, image: HotImage) -> None:
        self.weighed.append(key.digest)

    def deleted(self, key: ImageKey, received: float) -> bool:
        return received <= self.deleted_at

    def forget(self, tenant: str, digest: str) -> list[ImageKey]:
        held = digest in self.hot_images
        self.hot_images.discard(digest)
        return [ImageKey(tenant, "m", digest)] if held else []


@dataclass
class Prompter:
    """Answers with the digest of the image that was prompted."""

    prompted: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    error: Exception | None = None

    async def answer(
        self, key: ImageKey, image: HotImage, request: PromptRequest[Any], deadline: float | None
    ) -> tuple[bytes, dict[str, float]]:
        self.prompted.append(key.digest)
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return dump_results([Instance(1.0, (0, 0, 1, 1), 1, key.digest)]), {"prompt": 1.0}

    def forget(self, key: ImageKey) -> None:
        self.forgotten.append(key.digest)


@dataclass
class World:
    pool: Pool = field(default_factory=Pool)
    loader: Loader = field(default_factory=Loader)
    prompter: Prompter = field(default_factory=Prompter)

    def __post_init__(self) -> None:
        loader = cast("FeatureLoader", self.loader)
        self.runner = JobRunner("m", 16, self.pool, Names(60), loader, self.prompter)


@pytest.fixture
def world() -> World:
    made = World()
    made.pool.confirmed.set()
    return made


def job(image_id: str = "pet", digest: str | None = None, **extra: Any) -> PromptJob:
    return PromptJob("t", image_id, digest, extra.pop("request", CLICK), **extra)


def prompted(reply: object) -> str:
    assert isinstance(reply, Answered)
    digest: str = load_results(reply.results)[0].masks
    return digest


async def test_a_hot_image_is_prompted_while_its_id_is_confirmed(world: World) -> None:
    world.loader.hot_images = {"red"}
    world.pool.confirmed.clear()
    running = asyncio.create_task(world.runner.run(job(digest="red")))
    while not world.prompter.prompted:
        await asyncio.sleep(0)
    assert not running.done()
    world.pool.confirmed.set()
    reply = await running
    assert prompted(reply) == "red"
    assert isinstance(reply, Answered)
    assert reply.cache == "hot"
    assert world.pool.asked == [("pet", "red")]


async def test_an_id_that_was_bound_elsewhere_meanwhile_is_answered_for_its_new_image(world: World) -> None:
    world.loader.hot_images = {"red", "blue"}
    assert prompted(await world.runner.run(job(digest="red"))) == "red"
    assert prompted(await world.runner.run(job())) == "red"
    world.pool.bound["pet"] = "blue"  # through another replica
    assert prompted(await world.runner.run(job())) == "blue"


async def test_an_id_that_was_deleted_elsewhere_is_not_answered_from_memory(world: World) -> None:
    world.loader.hot_images = {"red"}
    await world.runner.run(job(digest="red"))
    del world.pool.bound["pet"]
    assert await world.runner.run(job()) == NeedImage("m", 16)


async def test_an_unknown_id_needs_the_image(world: World) -> None:
    assert await world.runner.run(job()) == NeedImage("m", 16)
    assert world.prompter.prompted == []


async def test_a_new_image_is_needed_and_its_id_is_bound_already(world: World) -> None:
    assert await world.runner.run(job(digest="red")) == NeedImage("m", 16)
    assert world.pool.bound == {"pet": "red"}


async def test_an_ensured_embedding_is_used_for_its_own_image(world: World) -> None:
    ensured = Warm(["ref"], SIZE, 1)
    reply = await world.runner.run(job(digest="red", warm=ensured))
    assert prompted(reply) == "red"
    assert world.loader.given == [ensured]


async def test_an_id_that_is_bound_already_is_not_bound_again(world: World) -> None:
    ensured = Warm(["ref"], SIZE, 1)
    assert prompted(await world.runner.run(job(digest="red", warm=ensured, bound=True))) == "red"
    world.loader.hot_images = {"red"}
    assert prompted(await world.runner.run(job(digest="red", warm=ensured, bound=True))) == "red"
    assert world.pool.asked == []


async def test_a_request_with_its_image_is_answered_when_its_id_is_bound_and_not_before(world: World) -> None:
    world.loader.warm_images = {"red"}
    world.pool.confirmed.clear()
    running = asyncio.create_task(world.runner.run(job(digest="red")))
    while not world.prompter.prompted:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert not running.done()
    world.pool.confirmed.set()
    assert prompted(await running) == "red"


async def test_a_warm_image_is_fetched_and_the_time_is_told(world: World) -> None:
    world.loader.warm_images = {"red"}
    reply = await world.runner.run(job(digest="red"))
    assert isinstance(reply, Answered)
    assert reply.cache == "warm"
    assert reply.stages == {"transfer": 0.5, "prompt": 1.0}


async def test_having_the_image_ready_asks_the_model_nothing(world: World) -> None:
    world.loader.warm_images = {"red"}
    reply = await world.runner.run(job(digest="red", request=None))
    assert isinstance(reply, Answered)
    assert load_results(reply.results) == []
    assert reply.size == SIZE
    assert world.prompter.prompted == []


async def test_a_job_that_waited_too_long_expires(world: World) -> None:
    world.loader.hot_images = {"red"}
    world.prompter.error = DeadlineExceeded()
    assert await world.runner.run(job(digest="red")) == Expired()


async def test_an_error_of_the_model_is_raised_and_leaves_no_call_behind(world: World) -> None:
    world.loader.hot_images = {"red"}
    world.pool.confirmed.clear()
    world.prompter.error = RuntimeError("broken")
    with pytest.raises(RuntimeError, match="broken"):
        await world.runner.run(job(digest="red"))
    await asyncio.sleep(0)
    assert world.pool.cancelled == 1


async def test_a_deleted_image_is_dropped_with_its_ids_and_what_is_kept_of_its_prompts(world: World) -> None:
    world.loader.hot_images = {"red"}
    await world.runner.run(job(digest="red"))
    assert world.runner.forget("t", "red")
    assert not world.runner.forget("t", "red")
    assert world.prompter.forgotten == ["red", "red"]
    assert world.runner.names.resolve("t", "pet") is None


async def test_a_request_that_an_image_is_deleted_under_is_answered_and_leaves_nothing(world: World) -> None:
    world.loader.hot_images = {"red"}
    world.loader.deleted_at = 100.0
    assert prompted(await world.runner.run(job(digest="red", received=99.0))) == "red"
    assert (world.loader.weighed, world.prompter.forgotten) == ([], ["red"])
    await world.runner.run(job(digest="red", received=101.0))
    assert (world.loader.weighed, world.prompter.forgotten) == (["red"], ["red"])
