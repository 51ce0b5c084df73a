"""Encoders that fail now and then: an image whose middle has the colour BROKEN cannot be encoded the first time that
one sees it."""

import numpy as np
from PIL import Image

from deployments.encoder.deployment import ImageEncoder
from deployments.messages import Source, Square
from sam3_engine.embedding import Embedding
from tests.support.scenes import HEIGHT, WIDTH, encoded

BROKEN = (255, 0, 255)


class FaultyEncoder(ImageEncoder):
    """The real one, with this fault."""

    _failed: frozenset[bytes] = frozenset()

    async def encode(self, image: Square | Source) -> Embedding:
        """Encode as ImageEncoder does. Raises RuntimeError."""
        pixels = await self._pixels(image)
        middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
        content = pixels.tobytes()
        if np.array_equal(middle, BROKEN) and content not in self._failed:
            self._failed |= {content}
            raise RuntimeError("this image cannot be encoded")
        return await super().encode(image)


def broken() -> bytes:
    """Such an image, as a file."""
    return encoded(Image.new("RGB", (WIDTH, HEIGHT), BROKEN))
