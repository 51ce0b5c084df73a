"""Pictures that take long to decode do not hold up others, and are not decoded for nobody."""

import asyncio
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from deployments.ingress.decoding import ImageDecoding
from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.formats import png_strips
from sam3_engine.types import ImageSize

LONG_S = 1e-4
SIDE, SMALL_SIDE = 100, 8


def large() -> bytes:
    done, content = cv2.imencode(".png", np.zeros((SIDE, SIDE, 3), np.uint16))
    assert done
    return content.tobytes()


def small() -> bytes:
    file = BytesIO()
    Image.new("RGB", (SMALL_SIDE, SMALL_SIDE)).save(file, "PNG")
    return file.getvalue()


class Held:
    """Strips of 16-bit pictures that wait for `go` after the first one."""

    def __init__(self) -> None:
        self.go, self.waits = threading.Event(), threading.Event()
        self.begun = self.passed = 0
        self._strips = png_strips.strips

    def strips(self, content: bytes) -> Iterator[Any]:
        self.begun += 1
        for strip in self._strips(content):
            self.waits.set()
            assert self.go.wait(60)
            yield strip
            self.passed += 1


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    monkeypatch.setattr(png_strips, "GROUP_BYTES", 1000)
    strips = Held()
    monkeypatch.setattr(png_strips, "strips", strips.strips)
    yield strips
    strips.go.set()


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
async def test_small_images_are_decoded_while_large_ones_take_long(held: Held, threads: int) -> None:
    decoding = ImageDecoding(threads, 10**6, LONG_S)
    waiting = [asyncio.create_task(decoding.decode(large(), 16)) for _ in range(2 * threads)]
    assert await asyncio.to_thread(held.waits.wait, 60)
    for _ in range(3):
        assert (await decoding.decode(small(), 16)).size == ImageSize(SMALL_SIDE, SMALL_SIDE)
    assert held.begun <= max(1, threads // 2)
    assert not any(task.done() for task in waiting)
    held.go.set()
    assert {decoded.size for decoded in await asyncio.gather(*waiting)} == {ImageSize(SIDE, SIDE)}
    decoding.close()


async def test_a_picture_that_nobody_waits_for_is_stopped_or_not_begun(held: Held) -> None:
    decoding = ImageDecoding(1, 10**6, LONG_S)
    waiting = [asyncio.create_task(decoding.decode(large(), 16)) for _ in range(3)]
    assert await asyncio.to_thread(held.waits.wait, 60)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    held.go.set()
    decoding.close()
    assert (held.begun, held.passed) == (1, 0), "of more than twenty strips"


async def test_refusals_are_those_of_the_decoder() -> None:
    decoding = ImageDecoding(1, SIDE * SIDE - 1, LONG_S)
    with pytest.raises(ImageTooLarge):
        await decoding.decode(large(), 16)
    with pytest.raises(UnreadableImage):
        await decoding.decode(small()[:40], 16)
    decoding.close()
