"""The way of a request while an update replaces decoders and encoders by ones of another model."""

import asyncio
from collections.abc import Iterator

import pytest

from deployments.ingress.decoding import ImageDecoding
from deployments.ingress.dispatch import Dispatcher
from deployments.ingress.naming import Naming
from deployments.ingress.uses import Uses
from deployments.keys import content_digest, derived_id
from deployments.protocol import ImageReference, Overloaded, StoreAway, Timings, VisualRequest
from deployments.results import load_results
from deployments.store.protocol import NewImage
from sam3_engine.types import VisualPrompt
from tests.support.memory_store import MemoryStore
from tests.unit.deployments.fakes import MODEL, FakeDecoders, FakePool, FileSource, image_file

RED = image_file("red")
RED_ID = derived_id(content_digest(RED))


@pytest.fixture
def dispatcher(decoders: FakeDecoders, pool: FakePool, store: MemoryStore) -> Iterator[Dispatcher]:
    decoding = ImageDecoding(1, 10_000)
    yield Dispatcher(decoders, pool, store, Naming(store), Uses(store, 60), decoding)
    decoding.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.ingress.dispatch.UPDATE_PAUSES_S", (0.0, 0.001, 0.002))


async def red(dispatcher: Dispatcher, reference: ImageReference, timings: Timings | None = None) -> bool:
    """True if a click on the image finds it red."""
    _, answered = await dispatcher.answer(
        reference, VisualRequest([VisualPrompt()]), timings or Timings("request")
    )
    colour = load_results(answered.results)[0].masks[0][0]
    return bool(colour[0] > colour[2])


def new_image() -> ImageReference:
    return ImageReference("t", FileSource(RED))


async def test_a_decoder_of_the_encoders_model_is_asked(
    dispatcher: Dispatcher, pool: FakePool, decoders: FakeDecoders
) -> None:
    pool.model, decoders.models = "new", (MODEL, "new")
    assert await red(dispatcher, new_image())
    assert [job.elsewhere for job in decoders.jobs] == [0, 1], "the store has kept the file"
    assert [one.model for one in pool.encoded] == ["new"]


async def test_images_of_before_are_known_by_their_ids(
    dispatcher: Dispatcher, pool: FakePool, decoders: FakeDecoders
) -> None:
    assert await red(dispatcher, new_image())
    pool.model, decoders.models = "new", ("new",)
    timings = Timings("2")
    assert await red(dispatcher, ImageReference("t", None, RED_ID), timings)
    assert timings.cache == "cold"


async def test_when_no_decoder_has_the_encoders_model_the_request_is_refused(
    dispatcher: Dispatcher, pool: FakePool, decoders: FakeDecoders
) -> None:
    pool.model = "new"
    with pytest.raises(Overloaded):
        await red(dispatcher, new_image())
    assert [job.elsewhere for job in decoders.jobs] == [0, 1, 2, 3]


async def test_a_new_image_is_encoded_before_a_decoder_is_asked(
    dispatcher: Dispatcher, pool: FakePool, decoders: FakeDecoders
) -> None:
    assert await red(dispatcher, new_image())
    assert [job.warm is None for job in decoders.jobs] == [True, False], (
        "the first one says what decoders need"
    )
    decoders.jobs.clear()
    assert not await red(dispatcher, ImageReference("t", FileSource(image_file("blue"))))
    assert [job.warm is None for job in decoders.jobs] == [False]
    assert len(pool.encoded) == 2


async def test_an_image_that_was_met_is_not_read_again(dispatcher: Dispatcher, pool: FakePool) -> None:
    blue = FileSource(image_file("blue"))
    for source in (FileSource(RED), blue, blue):
        await red(dispatcher, ImageReference("t", source))
    assert blue.reads == 1
    assert len(pool.encoded) == 2


async def test_equal_content_of_another_tenant_is_new(dispatcher: Dispatcher, pool: FakePool) -> None:
    for tenant in ("t", "t", "u"):
        assert await red(dispatcher, ImageReference(tenant, FileSource(RED)))
    assert len(pool.encoded) == 2


async def test_what_decoders_need_is_asked_anew_after_an_update(
    dispatcher: Dispatcher, pool: FakePool, decoders: FakeDecoders
) -> None:
    assert await red(dispatcher, new_image())
    pool.model, decoders.models = "new", ("new",)
    assert not await red(dispatcher, ImageReference("t", FileSource(image_file("blue"))))
    assert [one.model for one in pool.encoded] == [MODEL, "new"]


async def test_an_image_is_encoded_while_the_store_keeps_its_file(
    dispatcher: Dispatcher, pool: FakePool, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, encoded = store.put, asyncio.Event()

    async def late(image: NewImage) -> int:
        await encoded.wait()
        return await put(image)

    monkeypatch.setattr(store, "put", late)
    asking = asyncio.create_task(red(dispatcher, new_image()))
    while not pool.encoded:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert not asking.done(), "the store has not confirmed it"
    encoded.set()
    assert await asking


async def test_an_image_that_the_store_cannot_keep_is_not_answered(
    dispatcher: Dispatcher, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(image: NewImage) -> int:
        raise StoreAway

    monkeypatch.setattr(store, "put", away)
    with pytest.raises(StoreAway):
        await red(dispatcher, new_image())


async def test_an_image_that_is_sent_again_after_its_deletion_is_kept(
    dispatcher: Dispatcher, pool: FakePool, decoders: FakeDecoders, store: MemoryStore
) -> None:
    assert await red(dispatcher, new_image())
    deletion = await store.delete("t", RED_ID)
    assert deletion is not None
    await pool.delete("t", deletion.digest, deletion.stamp)
    await decoders.forget("t", deletion.digest, deletion.stamp)
    assert await red(dispatcher, new_image())
    timings = Timings("3")
    assert await red(dispatcher, ImageReference("t", None, RED_ID), timings)
    assert timings.cache == "warm"
    assert len(pool.encoded) == 2
