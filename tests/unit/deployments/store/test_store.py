"""The store's promises: the same tests for the real store and for the one that other tests use."""

import asyncio

import pytest

from deployments.keys import content_digest, derived_id
from deployments.store.protocol import MOST_IDS, NewImage, Store
from deployments.store.valkey import ValkeyStore
from sam3_engine.types import ImageSize
from tests.support.memory_store import MemoryStore

SIZE = ImageSize(30, 40)


@pytest.fixture(params=["valkey", "memory"])
def store(request: pytest.FixtureRequest) -> Store:
    """100 bytes of files."""
    if request.param == "memory":
        return MemoryStore(cold_bytes=100, most_images=80)
    found: ValkeyStore = request.getfixturevalue("valkey")
    return found


def image(
    name: str, image_id: str | None = None, *, tenant: str = "t", nbytes: int = 10, quota: int | None = None
) -> NewImage:
    return NewImage(tenant, digest(name), name.encode().ljust(nbytes, b"."), SIZE, image_id, quota)


def digest(name: str) -> str:
    return content_digest(name.encode())


async def has_file(store: Store, name: str, tenant: str = "t") -> bool:
    return await store.file(tenant, digest(name)) is not None


async def test_a_file_is_kept_as_it_came(store: Store) -> None:
    content = b"\x00\xff\r\n" + bytes(20)
    born = await store.put(NewImage("t", digest("red"), content, SIZE))
    kept = await store.file("t", digest("red"))
    assert kept is not None
    assert (kept.content, kept.size, kept.born) == (content, SIZE, born)
    assert await store.born("t", digest("red")) == born
    assert await store.file("t", digest("blue")) is None
    assert await store.born("t", digest("blue")) is None


async def test_a_chosen_id_names_the_image_that_was_sent_last(store: Store) -> None:
    assert await store.resolve("t", "pet") is None
    await store.put(image("red", "pet"))
    assert await store.resolve("t", "pet") == digest("red")
    await store.put(image("blue", "pet"))
    assert await store.resolve("t", "pet") == digest("blue")
    assert await store.bind("t", "pet", digest("red"))
    assert await store.resolve("t", "pet") == digest("red")
    assert [kept.ids for kept in await store.images("t")] == [(), ("pet",)]


async def test_an_id_cannot_name_an_image_that_is_not_known(store: Store) -> None:
    await store.put(image("red", "pet"))
    assert not await store.bind("t", "pet", digest("blue"))
    assert await store.resolve("t", "pet") == digest("red")


async def test_the_ids_of_one_image_are_bounded_and_the_last_one_counts(store: Store) -> None:
    await store.put(image("other", "another"))
    names = [f"{number:04}".ljust(512, "x") for number in range(MOST_IDS + 9)]
    for number, name in enumerate(names):
        if number % 2:
            await store.put(image("red", name))
        else:
            await store.bind("t", name, digest("red")) if number else await store.put(image("red", name))
        assert await store.resolve("t", name) == digest("red")
    kept, _ = sorted(await store.images("t"), key=lambda one: -len(one.ids))
    assert len(kept.ids) == MOST_IDS
    named = [name for name in names if await store.resolve("t", name) is not None]
    assert tuple(named) == kept.ids, "an id that has given way names nothing"
    assert await store.resolve("t", "another") == digest("other")
    await store.delete("t", names[-1])
    assert not any([await store.resolve("t", name) for name in names])


async def test_a_tenant_with_too_many_images_or_ids_forgets_those_it_asked_for_longest_ago(
    store: Store,
) -> None:
    """80 of each in this store."""
    await store.put(image("theirs", "theirs", tenant="other"))
    for number in range(50):
        await store.put(image(f"first-{number}", f"first-{number}", nbytes=1))
    for number in range(40):
        await store.put(image(f"next-{number}", nbytes=1))
    kept = {one.digest for one in await store.images("t")}
    assert len(kept) == 80
    assert not kept & {digest(f"first-{number}") for number in range(10)}
    assert await store.resolve("t", "first-9") is None
    assert await store.resolve("t", "first-10") == digest("first-10")
    for number in range(45):
        await store.bind("t", f"more-{number}", digest("next-39"))
    assert await store.resolve("t", "more-44") == digest("next-39")
    assert sum(len(one.ids) for one in await store.images("t")) <= 80
    assert await store.resolve("other", "theirs") == digest("theirs")


@pytest.mark.parametrize("image_id", ["ein Häuschen 🏠", "a:b", "{x}:y", "x" * 512, "\\ \" ' %s"])
async def test_any_text_may_be_an_id_or_a_tenant(store: Store, image_id: str) -> None:
    await store.put(image("red", image_id, tenant=image_id))
    assert await store.resolve(image_id, image_id) == digest("red")
    assert [kept.ids for kept in await store.images(image_id)] == [(image_id,)]
    assert await store.delete(image_id, image_id) is not None
    assert await store.images(image_id) == []


async def test_tenants_share_nothing(store: Store) -> None:
    await store.put(image("red", "pet", tenant="a"))
    assert await store.resolve("b", "pet") is None
    assert not await has_file(store, "red", "b")
    assert await store.images("b") == []
    assert await store.delete("b", "pet") is None
    deletion = await store.delete("b", derived_id(digest("red")))
    assert deletion is not None
    assert not deletion.found
    assert await store.resolve("a", "pet") == digest("red")


async def test_tenants_whose_names_run_into_their_ids_share_nothing(store: Store) -> None:
    await store.put(image("red", "c", tenant="a:b"))
    assert await store.resolve("a", "b:c") is None
    assert await store.images("a") == []


@pytest.mark.parametrize("name", ["one", derived_id(digest("red"))], ids=["by a chosen id", "by its content"])
async def test_a_deleted_image_is_gone_with_its_file_and_all_of_its_ids(store: Store, name: str) -> None:
    await store.put(image("red", "one"))
    await store.put(image("red", "two"))
    await store.put(image("blue", "three"))
    deletion = await store.delete("t", name)
    assert deletion is not None
    assert (deletion.digest, deletion.found) == (digest("red"), True)
    assert [await store.resolve("t", each) for each in ("one", "two")] == [None, None]
    assert not await has_file(store, "red")
    assert [kept.digest for kept in await store.images("t")] == [digest("blue")]
    assert await store.delete("t", "one") is None
    again = await store.delete("t", derived_id(digest("red")))
    assert again is not None
    assert not again.found


async def test_stamps_order_births_and_deletions(store: Store) -> None:
    before = await store.now()
    born = await store.put(image("red"))
    assert await store.put(image("red", "pet")) == born, "an image that is there already"
    deletion = await store.delete("t", "pet")
    assert deletion is not None
    again = await store.put(image("red"))
    assert before < born < deletion.stamp < again < await store.now()


async def test_beyond_the_budget_the_tenant_that_holds_most_gives_its_oldest_file(store: Store) -> None:
    await store.put(image("small", tenant="small", nbytes=20))
    for number in range(5):
        await store.put(image(f"large-{number}", f"id-{number}", tenant="large", nbytes=20))
    assert await has_file(store, "small", "small")
    assert [await has_file(store, f"large-{number}", "large") for number in range(5)] == [False, *[True] * 4]
    assert await store.resolve("large", "id-0") == digest("large-0"), "an embedding may still be there"
    assert sum(kept.source_bytes for kept in await store.images("large")) == 80


async def test_a_file_that_was_asked_for_is_not_the_oldest(store: Store) -> None:
    for number in range(5):
        await store.put(image(str(number), nbytes=20))
    await store.touch([("t", digest("0")), ("t", digest("unknown"))])
    await store.put(image("5", nbytes=20))
    assert [await has_file(store, str(number)) for number in range(6)] == [True, False, *[True] * 4]


async def test_a_file_that_left_is_kept_again_when_it_is_sent_again(store: Store) -> None:
    born = await store.put(image("red", nbytes=60))
    await store.put(image("blue", nbytes=60))
    assert not await has_file(store, "red")
    assert await store.put(image("red", nbytes=60)) == born
    assert await has_file(store, "red")
    assert not await has_file(store, "blue")


async def test_a_file_larger_than_the_budget_is_not_kept_and_drives_nothing_out(store: Store) -> None:
    await store.put(image("red"))
    await store.put(image("huge", "huge", nbytes=101))
    assert await has_file(store, "red")
    assert not await has_file(store, "huge")
    assert await store.resolve("t", "huge") == digest("huge")


async def test_a_quota_counts_for_its_own_tenant_and_stays(store: Store) -> None:
    for number in range(3):
        await store.put(image(str(number), tenant="few", quota=25))
        await store.put(image(str(number), tenant="many"))
    await store.put(image("3", tenant="few"))
    held = {tenant: await store.images(tenant) for tenant in ("few", "many")}
    assert sum(kept.source_bytes for kept in held["few"]) == 20
    assert sum(kept.source_bytes for kept in held["many"]) == 30


async def test_the_files_are_counted(store: Store) -> None:
    await store.put(image("red", tenant="a", nbytes=30))
    await store.put(image("blue", tenant="b", nbytes=20))
    usage = await store.sweep()
    assert (usage.files, usage.nbytes, usage.largest, usage.idle) == (2, 50, 30, 0)
    await store.delete("a", derived_id(digest("red")))
    usage = await store.sweep()
    assert (usage.files, usage.nbytes, usage.largest) == (1, 20, 20)


async def test_an_image_is_listed_with_what_is_kept_of_it_newest_first(store: Store) -> None:
    await store.put(image("red", "one"))
    await store.put(image("red", "two"))
    await store.put(image("blue"))
    blue, red = await store.images("t")
    assert (red.digest, red.size, red.source_bytes, red.ids) == (digest("red"), SIZE, 10, ("one", "two"))
    assert (blue.digest, blue.ids) == (digest("blue"), ())
    assert 0 <= blue.age_s <= red.age_s


async def test_many_at_once_leave_the_bytes_within_the_budget(store: Store) -> None:
    names = [str(number % 20) for number in range(200)]
    await asyncio.gather(*(store.put(image(name, f"id-{name}")) for name in names))
    assert (await store.sweep()).nbytes == 100
    assert len(await store.images("t")) == 20


async def test_a_step_that_is_cancelled_disturbs_no_other(store: Store) -> None:
    await store.put(image("red", "pet"))
    for _ in range(20):
        cancelled = asyncio.ensure_future(store.file("t", digest("red")))
        await asyncio.sleep(0)
        cancelled.cancel()
        assert await store.resolve("t", "pet") == digest("red")


async def test_the_store_says_that_it_is_there(store: Store) -> None:
    assert await store.answers()


def test_they_are_what_the_protocol_says() -> None:
    both: list[type[Store]] = [ValkeyStore, MemoryStore]
    assert len(both) == 2


async def test_the_earliest_stamp_lies_between_deletions_and_later_births(store: Store) -> None:
    assert await store.earliest() <= await store.put(image("red"))
    deletion = await store.delete("t", derived_id(digest("red")))
    assert deletion is not None
    earliest = await store.earliest()
    assert deletion.stamp < earliest <= await store.put(image("red"))
    assert await store.earliest() <= await store.put(image("blue"))
