from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from deployments.decoder.features import FeatureLoader, Found, HotImage
from deployments.decoder.job import JobRunner
from deployments.keys import ImageKey
from deployments.messages import Answered, Expired, NeedImage, OtherModel, PromptJob, Warm
from deployments.protocol import DeadlineExceeded, PromptRequest, VisualRequest
from deployments.results import dump_results, load_results
from sam3_engine.types import ImageSize, Instance, VisualPrompt

CLICK = VisualRequest([VisualPrompt()])
SIZE = ImageSize(3, 4)


@dataclass
class Weight:
    nbytes: int = 1


@dataclass
class Loader:
    """Images by digest, hot or warm."""

    hot_images: set[str] = field(default_factory=set)
    warm_images: set[str] = field(default_factory=set)
    given: list[Warm | None] = field(default_factory=list)
    weighed: list[str] = field(default_factory=list)
    deleted_at: int = 0

    async def load(self, key: ImageKey, warm: Warm | None, deadline: float | None) -> Found | None:
        self.given.append(warm)
        image = HotImage(Weight(), SIZE, born=1)
        if key.digest in self.hot_images:
            return Found(image, "hot")
        return Found(image, "warm", 0.5) if warm or key.digest in self.warm_images else None

    def weigh_again(self, key: ImageKey, image: HotImage) -> None:
        self.weighed.append(key.digest)

    def deleted(self, key: ImageKey, image: HotImage) -> bool:
        return image.born <= self.deleted_at

    def forget(self, tenant: str, digest: str, stamp: int) -> list[ImageKey]:
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
        if self.error:
            raise self.error
        return dump_results([Instance(1.0, (0, 0, 1, 1), 1, key.digest)]), {"prompt": 1.0}

    def forget(self, key: ImageKey) -> None:
        self.forgotten.append(key.digest)


@dataclass
class World:
    loader: Loader = field(default_factory=Loader)
    prompter: Prompter = field(default_factory=Prompter)

    def __post_init__(self) -> None:
        self.runner = JobRunner("m", 16, cast("FeatureLoader", self.loader), self.prompter)


@pytest.fixture
def world() -> World:
    return World()


def job(digest: str = "red", **extra: Any) -> PromptJob:
    return PromptJob("t", digest, extra.pop("request", CLICK), **extra)


def prompted(reply: object) -> str:
    assert isinstance(reply, Answered)
    digest: str = load_results(reply.results)[0].masks
    return digest


async def test_a_hot_image_is_prompted(world: World) -> None:
    world.loader.hot_images = {"red"}
    reply = await world.runner.run(job())
    assert prompted(reply) == "red"
    assert isinstance(reply, Answered)
    assert reply.cache == "hot"


async def test_an_image_that_nobody_has_is_needed(world: World) -> None:
    assert await world.runner.run(job()) == NeedImage("m", 16)
    assert world.prompter.prompted == []


async def test_an_ensured_embedding_is_used(world: World) -> None:
    ensured = Warm(["ref"], SIZE, 1, 1)
    assert prompted(await world.runner.run(job(warm=ensured))) == "red"
    assert world.loader.given == [ensured]


async def test_a_warm_image_is_fetched_and_the_time_is_told(world: World) -> None:
    world.loader.warm_images = {"red"}
    reply = await world.runner.run(job())
    assert isinstance(reply, Answered)
    assert reply.cache == "warm"
    assert reply.stages == {"transfer": 0.5, "prompt": 1.0}


async def test_having_the_image_ready_asks_the_model_nothing(world: World) -> None:
    world.loader.warm_images = {"red"}
    reply = await world.runner.run(job(request=None))
    assert isinstance(reply, Answered)
    assert load_results(reply.results) == []
    assert reply.size == SIZE
    assert world.prompter.prompted == []


async def test_a_job_that_waited_too_long_expires(world: World) -> None:
    world.loader.hot_images = {"red"}
    world.prompter.error = DeadlineExceeded()
    assert await world.runner.run(job()) == Expired()


async def test_an_error_of_the_model_is_raised(world: World) -> None:
    world.loader.hot_images = {"red"}
    world.prompter.error = RuntimeError("broken")
    with pytest.raises(RuntimeError, match="broken"):
        await world.runner.run(job())


async def test_a_deleted_image_is_dropped_with_what_is_kept_of_its_prompts(world: World) -> None:
    world.loader.hot_images = {"red"}
    await world.runner.run(job())
    assert world.runner.forget("t", "red", 2)
    assert not world.runner.forget("t", "red", 3)
    assert world.prompter.forgotten == ["red", "red"]


async def test_a_request_that_an_image_is_deleted_under_is_answered_and_leaves_nothing(world: World) -> None:
    world.loader.hot_images = {"red"}
    world.loader.deleted_at = 2
    assert prompted(await world.runner.run(job())) == "red"
    assert (world.loader.weighed, world.prompter.forgotten) == ([], ["red"])
    world.loader.deleted_at = 0
    await world.runner.run(job())
    assert (world.loader.weighed, world.prompter.forgotten) == (["red"], ["red"])


@pytest.mark.parametrize(
    ("asked", "own", "refused"),
    [
        (("a", "w1"), ("a", "w1"), False),
        (("a", "w2"), ("a", "w1"), False),
        (("b", "w1"), ("a", "w1"), False),
        (("b", "w2"), ("a", "w1"), True),
        (None, ("a", "w1"), False),
        (("a", "w1"), None, False),
    ],
)
async def test_a_decoder_of_another_model_refuses(
    world: World, asked: tuple[str, str] | None, own: tuple[str, str] | None, refused: bool
) -> None:
    """During an update a deployment may hold decoders of two models: those of newer weights, or under a new name, are
    the same model."""
    world.loader.hot_images = {"red"}
    runner = replace(world.runner, name=own)
    if refused:
        with pytest.raises(OtherModel):
            await runner.run(job(model=asked))
        assert world.prompter.prompted == []
    else:
        assert prompted(await runner.run(job(model=asked))) == "red"


async def test_the_encoders_that_a_new_image_needs_are_named(world: World) -> None:
    reply = await replace(world.runner, encoder="ImageEncoder-b").run(job())
    assert reply == NeedImage("m", 16, "ImageEncoder-b")
    key = reply.key("t", "d")
    assert key == ImageKey("t", "m", "d"), "a place is no part of the name"
    assert key.encoder == "ImageEncoder-b"
