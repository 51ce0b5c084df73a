import asyncio
import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.ingress.decoding import ImageDecoding
from deployments.ingress.models import Models
from deployments.ingress.service import SegmentationService
from deployments.keys import content_digest, derived_id
from deployments.messages import Answered, Ensured, Expired, PromptJob, Reply
from deployments.observe.metrics import Metrics
from deployments.protocol import (
    Answer,
    DeadlineExceeded,
    ImageReference,
    OtherContent,
    Overloaded,
    StoreAway,
    Timings,
    UnknownImage,
    VisualRequest,
)
from deployments.results import dump_results
from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.types import ImageSize, VisualPrompt
from serve_app.http.app import create_app
from serve_app.model_file import DEFAULT_MODEL_ID
from serve_app.settings import Settings
from tests.support.memory_store import MemoryStore
from tests.unit.deployments.fakes import MODEL, FakeDecoders, FakePool, FileSource, image_file

CLICK = VisualRequest([VisualPrompt()])
RED, BLUE = image_file("red"), image_file("blue", (20, 10))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def service(
    decoders: FakeDecoders, pool: FakePool, store: MemoryStore, metrics: Metrics
) -> Iterator[SegmentationService]:
    decoding = ImageDecoding(2, 10_000)
    yield SegmentationService(
        Models.one(DEFAULT_MODEL_ID, decoders), pool, store, metrics, decoding, idle_ttl_s=60
    )
    decoding.close()


def image(
    file: bytes | None = None, image_id: str | None = None, tenant: str = "t"
) -> tuple[ImageReference, FileSource | None]:
    source = FileSource(file) if file is not None else None
    return ImageReference(tenant, source, image_id), source


async def click(
    service: SegmentationService, reference: ImageReference, timings: Timings | None = None
) -> Answer[Any]:
    return await service.answer(reference, CLICK, timings or Timings("request"))


def colour(answer: Answer[Any]) -> str:
    red, _, blue = answer.results[0].masks[0][0]
    return "red" if red > blue else "blue"


def test_the_http_layer_calls_it(service: SegmentationService, pool: FakePool) -> None:
    image = {"type": "base64", "value": base64.b64encode(RED).decode()}
    with TestClient(create_app(service, Settings()), base_url="http://localhost") as client:
        answer = client.post("/sam3/visual_segment", json={"image": image, "prompts": [{}]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["image_id"] == derived_id(content_digest(RED))
        (kept,) = client.get("/sam3/images").json()["images"]
        assert (kept["width"], kept["height"]) == (40, 30)
        assert client.delete(f"/sam3/images/{kept['image_id']}").status_code == 200
    assert len(pool.encoded) == 1


async def test_a_new_image_is_read_once_encoded_once_and_known_afterwards(
    service: SegmentationService, pool: FakePool, decoders: FakeDecoders, store: MemoryStore
) -> None:
    reference, source = image(RED)
    first = Timings("1")
    answer = await click(service, reference, first)
    assert answer.image_id == derived_id(content_digest(RED))
    assert answer.size == ImageSize(30, 40)
    assert colour(answer) == "red"
    assert source is not None
    assert source.reads == 1
    assert first.cache == "miss"
    assert {"decode", "encode", "prompt", "queue"} <= first.stages.keys()

    again, source = image(RED)
    second = Timings("2")
    assert (await click(service, again, second)).results == answer.results
    assert source is not None
    assert source.reads == 0, "a known image's file is not even read"
    assert second.cache == "warm"
    assert "decode" not in second.stages
    assert len(pool.encoded) == 1
    assert len(decoders.jobs) == 3, "one hop for a known image"
    assert store.calls == ["file", "put"], "content needs no name"


async def test_every_route_shares_one_encode(service: SegmentationService, pool: FakePool) -> None:
    embedded: Answer[Any] = await service.answer(image(RED)[0], None, Timings("1"))
    assert embedded.size == ImageSize(30, 40)
    answer = await click(service, image(image_id=embedded.image_id)[0])
    assert colour(answer) == "red"
    assert len(pool.encoded) == 1


async def test_the_deadline_ends_the_search_for_a_decoder_of_the_encoders_model(
    service: SegmentationService, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.model = "new"
    monkeypatch.setattr("deployments.ingress.dispatch.UPDATE_PAUSES_S", (60.0,))
    with pytest.raises(DeadlineExceeded):
        await click(service, image(RED)[0], Timings("1", time.time() + 0.05))


async def test_fifty_requests_for_one_new_image_make_one_encode(
    service: SegmentationService, pool: FakePool
) -> None:
    answers = await asyncio.gather(*(click(service, image(RED)[0]) for _ in range(50)))
    assert {colour(answer) for answer in answers} == {"red"}
    assert len(pool.encoded) == 1


async def test_the_encoders_failure_reaches_all_and_poisons_nothing(
    service: SegmentationService, pool: FakePool
) -> None:
    pool.error = RuntimeError("broken")
    answers = await asyncio.gather(*(click(service, image(RED)[0]) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(answer, RuntimeError) for answer in answers)
    pool.error = None
    assert colour(await click(service, image(RED)[0])) == "red"


async def test_an_unknown_id_without_an_image(service: SegmentationService) -> None:
    with pytest.raises(UnknownImage) as raised:
        await click(service, image(image_id="cat")[0])
    assert raised.value.image_id == "cat"


async def test_a_reference_to_nothing_is_a_mistake(service: SegmentationService) -> None:
    with pytest.raises(ValueError, match="an image, an id, or both"):
        await click(service, image()[0])


async def test_new_bytes_under_an_old_id_replace_it(service: SegmentationService, pool: FakePool) -> None:
    await click(service, image(RED, "pet")[0])
    answer = await click(service, image(BLUE, "pet")[0])
    assert answer.image_id == "pet"
    assert (colour(answer), answer.size) == ("blue", ImageSize(10, 20))
    assert colour(await click(service, image(image_id="pet")[0])) == "blue"
    assert colour(await click(service, image(RED, "pet")[0])) == "red"
    assert colour(await click(service, image(image_id="pet")[0])) == "red"
    assert len(pool.encoded) == 2


async def test_an_id_made_of_a_digest_cannot_be_given_to_other_content(
    service: SegmentationService, pool: FakePool
) -> None:
    given = (await click(service, image(RED)[0])).image_id
    with pytest.raises(OtherContent):
        await click(service, image(BLUE, given)[0])
    assert colour(await click(service, image(RED, given)[0])) == "red"
    assert colour(await click(service, image(image_id=given)[0])) == "red"
    assert len(pool.encoded) == 1


async def test_ids_that_are_made_of_digests_ask_the_store_nothing(
    service: SegmentationService, store: MemoryStore
) -> None:
    given = (await click(service, image(RED)[0])).image_id
    store.calls.clear()
    for reference in (image(RED), image(RED, given), image(image_id=given)):
        await click(service, reference[0])
    assert store.calls == []


async def test_a_chosen_id_is_looked_up_while_the_decoder_works(
    service: SegmentationService, store: MemoryStore, decoders: FakeDecoders
) -> None:
    await click(service, image(RED, "pet")[0])
    decoders.jobs.clear()
    store.calls.clear()
    gate = store.gate = asyncio.Event()
    running = asyncio.create_task(click(service, image(image_id="pet")[0]))
    while not decoders.jobs:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert not running.done(), "the decoder has answered, and the store has not"
    gate.set()
    assert colour(await running) == "red"
    assert len(decoders.jobs) == 1
    assert store.calls == ["resolve"]


async def test_an_id_that_another_process_gave_to_other_bytes_is_answered_for_these(
    service: SegmentationService, store: MemoryStore
) -> None:
    await click(service, image(RED, "pet")[0])
    await click(service, image(BLUE, "other")[0])
    assert colour(await click(service, image(image_id="pet")[0])) == "red"
    await store.bind("t", "pet", content_digest(BLUE))
    assert colour(await click(service, image(image_id="pet")[0])) == "blue"
    await store.delete("t", "pet")
    with pytest.raises(UnknownImage):
        await click(service, image(image_id="pet")[0])
    with pytest.raises(UnknownImage):
        await click(service, image(image_id="pet")[0])


async def test_a_request_with_its_image_is_answered_when_its_id_names_it_and_not_before(
    service: SegmentationService, store: MemoryStore, decoders: FakeDecoders
) -> None:
    await click(service, image(RED, "pet")[0])
    gate = store.gate = asyncio.Event()
    running = asyncio.create_task(click(service, image(RED, "other")[0]))
    await asyncio.sleep(0.01)
    assert not running.done()
    gate.set()
    assert colour(await running) == "red"
    assert await store.resolve("t", "other") == content_digest(RED)


async def test_an_image_that_the_store_has_lost_is_kept_again_when_it_is_sent_again(
    service: SegmentationService, store: MemoryStore, pool: FakePool
) -> None:
    await click(service, image(RED, "pet")[0])
    store.forget_everything()
    with pytest.raises(UnknownImage):
        await click(service, image(image_id="pet")[0])
    assert colour(await click(service, image(RED, "pet")[0])) == "red"
    assert colour(await click(service, image(image_id="pet")[0])) == "red"
    assert await store.file("t", content_digest(RED)) is not None
    assert len(pool.encoded) == 1, "the pool has its embedding all the time"


async def test_a_url_that_changed_is_never_kept_under_its_old_digest(
    service: SegmentationService, store: MemoryStore
) -> None:
    await click(service, image(RED)[0])
    store.forget_everything()

    class Changed(FileSource):
        """Says the digest that it had when it was last read."""

        async def content_digest(self) -> str:
            return content_digest(self.file if self.reads else RED)

    answer = await click(service, ImageReference("t", Changed(BLUE), "pet"))
    assert colour(answer) == "blue"
    assert await store.resolve("t", "pet") == content_digest(BLUE)
    assert await store.file("t", content_digest(RED)) is None
    assert colour(await click(service, image(image_id="pet")[0])) == "blue"


async def test_while_the_store_is_away_known_content_is_answered_and_the_rest_is_asked_to_wait(
    service: SegmentationService, store: MemoryStore
) -> None:
    given = (await click(service, image(RED, "pet")[0])).image_id
    assert given == "pet"
    store.away = True
    assert colour(await click(service, image(RED)[0])) == "red"
    assert colour(await click(service, image(image_id=derived_id(content_digest(RED)))[0])) == "red"
    for reference in (image(image_id="pet"), image(RED, "pet"), image(BLUE), image(image_id="new")):
        with pytest.raises(StoreAway):
            await click(service, reference[0])
    with pytest.raises(StoreAway):
        await service.delete("t", "pet")
    with pytest.raises(StoreAway):
        await service.images("t")
    assert not await service.store_answers()
    assert await service.ready()
    store.away = False
    assert colour(await click(service, image(image_id="pet")[0])) == "red"
    assert await service.store_answers()


async def test_an_image_that_is_deleted_while_it_is_encoded_is_answered_and_not_kept(
    service: SegmentationService, pool: FakePool, decoders: FakeDecoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure, digest = pool.ensure, content_digest(RED)

    async def deleted_meanwhile(*arguments: Any) -> Any:
        await service.delete("t", "pet")
        return await ensure(*arguments)

    monkeypatch.setattr(pool, "ensure", deleted_meanwhile)
    run = decoders.run

    async def answers_what_it_is_given(job: PromptJob) -> Reply:
        return Answered(job.warm.size, dump_results([]), "warm") if job.warm else await run(job)

    monkeypatch.setattr(decoders, "run", answers_what_it_is_given)
    await click(service, image(RED, "pet")[0])
    assert pool.pool.embeddings("t") == {}
    for name in ("pet", derived_id(digest)):
        with pytest.raises(UnknownImage):
            await click(service, image(image_id=name)[0])


async def test_alternating_images_under_one_id_are_never_mixed(service: SegmentationService) -> None:
    async def one(number: int) -> tuple[str, str]:
        name, file = ("red", RED) if number % 2 else ("blue", BLUE)
        return name, colour(await click(service, image(file, "shared")[0]))

    for name, found in await asyncio.gather(*map(one, range(60))):
        assert found == name


async def test_tenants_share_neither_ids_nor_contents(service: SegmentationService, pool: FakePool) -> None:
    answer = await click(service, image(RED, "pet", "a")[0])
    for image_id in ("pet", answer.image_id, derived_id(content_digest(RED))):
        with pytest.raises(UnknownImage):
            await click(service, image(image_id=image_id, tenant="b")[0])
    await click(service, image(RED, tenant="b")[0])
    assert len(pool.encoded) == 2


async def test_an_embedding_that_is_lost_at_once_is_made_again(
    service: SegmentationService, decoders: FakeDecoders, pool: FakePool
) -> None:
    decoders.unsure = 2
    reference, source = image(RED)
    assert colour(await click(service, reference)) == "red"
    assert source is not None
    assert source.reads == 2
    assert len(pool.encoded) == 1


async def test_it_gives_up_when_embeddings_are_always_lost(
    service: SegmentationService, decoders: FakeDecoders
) -> None:
    decoders.unsure = 100
    with pytest.raises(Overloaded):
        await click(service, image(RED)[0])


@pytest.mark.parametrize(
    ("file", "error"), [(b"not an image", UnreadableImage), (image_file(size=(200, 100)), ImageTooLarge)]
)
async def test_images_that_cannot_be_used(
    service: SegmentationService, pool: FakePool, file: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await click(service, image(file)[0])
    assert pool.encoded == []


async def test_a_passed_deadline_cancels_the_work(
    service: SegmentationService, decoders: FakeDecoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = False

    async def slow(job: PromptJob) -> Reply:
        nonlocal cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled = True
            raise
        raise AssertionError

    monkeypatch.setattr(decoders, "run", slow)
    with pytest.raises(DeadlineExceeded):
        await click(service, image(RED)[0], Timings("1", deadline=time.time() + 0.02))
    assert cancelled


async def test_a_job_that_expired_at_the_decoder(
    service: SegmentationService, decoders: FakeDecoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def expired(job: PromptJob) -> Reply:
        return Expired()

    monkeypatch.setattr(decoders, "run", expired)
    with pytest.raises(DeadlineExceeded):
        await click(service, image(RED)[0], Timings("1", deadline=time.time() - 1))


async def test_the_wait_of_a_failed_request_is_known_too(
    service: SegmentationService, decoders: FakeDecoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(job: PromptJob) -> Reply:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(decoders, "run", slow)
    timings = Timings("1", deadline=time.time() + 0.05)
    with pytest.raises(DeadlineExceeded):
        await click(service, image(RED)[0], timings)
    assert timings.waited_s > 0.01


async def test_another_requests_deadline_does_not_end_this_one(
    service: SegmentationService, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had joined an encode whose first caller was in a hurry: the next one is its own."""
    ensure = pool.ensure

    async def hurried(*args: Any) -> Ensured:
        pool.error = None if pool.encoded else DeadlineExceeded()
        return await ensure(*args)

    monkeypatch.setattr(pool, "ensure", hurried)
    answer = await click(service, image(RED)[0], Timings("1", deadline=time.time() + 60))
    assert answer.results
    assert len(pool.encoded) == 2


async def test_the_deadline_travels_to_decoder_and_encoder(
    service: SegmentationService, pool: FakePool, decoders: FakeDecoders
) -> None:
    deadline = time.time() + 60
    await click(service, image(RED)[0], Timings("1", deadline=deadline))
    assert {job.deadline for job in decoders.jobs} == {deadline}
    assert [encoded.deadline for encoded in pool.encoded] == [deadline]


async def test_lookups_and_stages_are_counted(service: SegmentationService, metrics: Metrics) -> None:
    await click(service, image(RED)[0])
    await click(service, image(RED)[0])
    assert metrics.values['sam3_cache_lookups_total{model="sam3/sam3_final",tier="miss"}'] == 1
    assert metrics.values['sam3_cache_lookups_total{model="sam3/sam3_final",tier="warm"}'] == 1
    assert metrics.values['sam3_stage_seconds_count{stage="prompt"}'] == 2
    assert metrics.values['sam3_stage_seconds_count{stage="encode"}'] == 1


@pytest.mark.parametrize("ready", [True, False])
async def test_it_is_ready_when_the_decoders_are(
    service: SegmentationService, decoders: FakeDecoders, ready: bool
) -> None:
    decoders.is_ready = ready
    assert await service.ready() is ready


async def test_a_tenants_images_are_listed_with_their_ids_and_tiers(
    service: SegmentationService, decoders: FakeDecoders
) -> None:
    for file, name in ((RED, "one"), (RED, "two"), (BLUE, None)):
        await click(service, image(file, name)[0])
    decoders.hot = {content_digest(RED)}
    found = {kept.image_id: kept for kept in await service.images("t")}
    assert {name: kept.tier for name, kept in found.items()} == {
        "one": "hot",
        "two": "hot",
        derived_id(content_digest(BLUE)): "warm",
    }
    assert found["one"].size == ImageSize(30, 40)
    assert found["one"].source_bytes == len(RED)
    assert found["one"].embedding_bytes == 10
    assert await service.images("other") == []


async def test_a_deleted_image_is_gone_everywhere_under_all_of_its_ids(
    service: SegmentationService, decoders: FakeDecoders, pool: FakePool
) -> None:
    for name in ("one", "two"):
        await click(service, image(RED, name)[0])
    await click(service, image(BLUE, "three")[0])
    decoders.hot = {content_digest(RED), content_digest(BLUE)}
    await service.delete("t", "one")
    assert decoders.hot == {content_digest(BLUE)}
    for name in ("one", "two", derived_id(content_digest(RED))):
        with pytest.raises(UnknownImage):
            await click(service, image(None, name)[0])
        with pytest.raises(UnknownImage):
            await service.delete("t", name)
    assert colour(await click(service, image(None, "three")[0])) == "blue"
    assert colour(await click(service, image(RED, "one")[0])) == "red"
    assert colour(await click(service, image(None, "one")[0])) == "red"


async def test_nobody_deletes_another_tenants_image(service: SegmentationService) -> None:
    await click(service, image(RED, "mine")[0])
    for name in ("mine", derived_id(content_digest(RED))):
        with pytest.raises(UnknownImage):
            await service.delete("other", name)
    assert colour(await click(service, image(None, "mine")[0])) == "red"


async def test_an_image_that_only_a_decoder_still_has_can_be_deleted(
    service: SegmentationService, decoders: FakeDecoders
) -> None:
    decoders.hot = {content_digest(RED)}
    await service.delete("t", derived_id(content_digest(RED)))
    assert decoders.hot == set()


async def test_a_tenants_quota_goes_with_its_images(service: SegmentationService, pool: FakePool) -> None:
    reference = ImageReference("t", FileSource(RED), None, quota=123)
    await click(service, reference)
    assert pool.quotas == [123]


@pytest.fixture
def two(pool: FakePool, store: MemoryStore, metrics: Metrics) -> Iterator[SegmentationService]:
    """Two models, of which the second is not needed."""
    decoding = ImageDecoding(2, 10_000)
    clients = {"a": FakeDecoders(pool), "b": FakeDecoders(pool)}
    models = Models(clients, "a", {"a": ("a", "w1"), "b": ("b", "w2")}, ("a",))
    yield SegmentationService(models, pool, store, metrics, decoding, idle_ttl_s=60)
    decoding.close()


def decoders_of(service: SegmentationService, name: str) -> FakeDecoders:
    found = service._models.decoders[name]
    assert isinstance(found, FakeDecoders)
    return found


async def test_a_request_is_answered_by_the_model_that_it_names(
    two: SegmentationService, metrics: Metrics
) -> None:
    await two.answer(image(RED)[0], CLICK, Timings("1"), "b")
    await two.answer(image(RED)[0], CLICK, Timings("2"))
    assert {job.model for job in decoders_of(two, "a").jobs} == {("a", "w1")}
    assert {job.model for job in decoders_of(two, "b").jobs} == {("b", "w2")}
    assert metrics.values['sam3_cache_lookups_total{model="b",tier="miss"}'] == 1
    assert metrics.values['sam3_cache_lookups_total{model="a",tier="warm"}'] == 1


async def test_models_with_one_encoder_encode_an_image_once(two: SegmentationService, pool: FakePool) -> None:
    for name in ("a", "b", "a"):
        await two.answer(image(RED)[0], CLICK, Timings("1"), name)
    assert len(pool.encoded) == 1


async def test_models_with_different_encoders_encode_it_once_each(
    two: SegmentationService, pool: FakePool
) -> None:
    for name in ("a", "b", "a", "b"):
        pool.model = "other" if name == "b" else MODEL
        decoders_of(two, name).models = (pool.model,)
        await two.answer(image(RED)[0], CLICK, Timings("1"), name)
    assert len(pool.encoded) == 2


async def test_an_image_is_deleted_in_the_decoders_of_every_model(two: SegmentationService) -> None:
    answer = await two.answer(image(RED)[0], CLICK, Timings("1"), "b")
    await two.delete("t", answer.image_id)
    for name in ("a", "b"):
        assert decoders_of(two, name).forgotten == [content_digest(RED)]


async def test_only_models_that_are_needed_count_for_readiness(two: SegmentationService) -> None:
    decoders_of(two, "b").is_ready = False
    assert await two.ready()
    decoders_of(two, "a").is_ready = False
    assert not await two.ready()
    assert two.models().keys() == {"a", "b"}
