import asyncio

from deployments.ingress.uses import Uses
from deployments.store.protocol import NewImage
from sam3_engine.types import ImageSize
from tests.support.memory_store import MemoryStore


async def test_images_that_are_asked_for_do_not_grow_old_in_the_store() -> None:
    now = 0.0
    store = MemoryStore(clock=lambda: now)
    uses = Uses(store, 60)
    for digest in ("used", "idle"):
        await store.put(NewImage("t", digest, b"file", ImageSize(1, 1)))
    now = 50.0
    uses.note("t", "used")
    uses.note("t", "used")
    await uses.tell()
    now = 70.0
    assert (await store.sweep()).idle == 1
    assert [image.digest for image in await store.images("t")] == ["used"]


async def test_a_store_that_is_away_is_told_when_it_is_back() -> None:
    now = 0.0
    store = MemoryStore(clock=lambda: now, idle_ttl_s=0.04)
    await store.put(NewImage("t", "used", b"file", ImageSize(1, 1)))
    uses = Uses(store, store.idle_ttl_s)
    store.away = True
    uses.note("t", "used")
    while "touch" not in store.calls:
        await asyncio.sleep(0.01)
    store.away, now = False, 0.03
    store.calls.clear()
    while "touch" not in store.calls:
        await asyncio.sleep(0.01)
    now = 0.05
    assert (await store.sweep()).idle == 0
