"""The images that a Python caller works on, embedded once each."""

import threading
from dataclasses import dataclass

from cachetools import LRUCache

from sam3_engine.embedding import Embedding
from sam3_engine.engine import Engine
from sam3_engine.features import Features
from sam3_engine.image_ids import image_id as check_image_id
from sam3_engine.images import DecodedImage
from sam3_engine.sources import ChannelOrder, Content, ImageSource, content_digest, decode, read_content
from sam3_engine.types import ImageSize


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image that needs no encoding any more. `digest` follows from its content, `image_id` is what it is
    called."""

    image_id: str
    digest: str
    size: ImageSize
    embedding: Embedding
    features: Features


class EmbeddedImages:
    """Embeds images and remembers the most recently used ones. Safe to use from several threads."""

    def __init__(self, engine: Engine, capacity: int, channels: ChannelOrder, max_pixels: int | None) -> None:
        self._engine = engine
        self._channels: ChannelOrder = channels
        self._max_pixels = max_pixels
        self._known: LRUCache[str, EmbeddedImage] = LRUCache(max(1, capacity))
        self._lock = threading.Lock()

    def get(self, image: ImageSource | None, image_id: str | None) -> EmbeddedImage:
        """The embedded image; encodes it only when its id is new, or names another image than before.

        Without an id, the content's digest is the id. Raises ValueError for an id alone that is not known, and for
        a value that is no id.
        """
        known = None if image_id is None else self._look_up(check_image_id(image_id))
        if image is None:
            if known is None:
                raise ValueError(
                    f"image_id {image_id!r} is not embedded here (any more): pass the image, too"
                )
            return known
        content = read_content(image, self._channels)
        seen = content if isinstance(content, bytes) else self._decode(content)
        digest = content_digest(seen)
        if image_id is None:
            image_id, known = digest, self._look_up(digest)
        if known is not None and known.digest == digest:
            return known
        decoded = self._decode(seen) if isinstance(seen, bytes) else seen
        (embedding,) = self._engine.encode([decoded.square])
        fresh = EmbeddedImage(image_id, digest, decoded.size, embedding, self._engine.expand(embedding))
        with self._lock:
            self._known[image_id] = fresh
        return fresh

    def _decode(self, content: Content) -> DecodedImage:
        return decode(content, self._engine.spec.image_size, self._max_pixels)

    def _look_up(self, image_id: str) -> EmbeddedImage | None:
        with self._lock:
            return self._known.get(image_id)
