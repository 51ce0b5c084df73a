"""The interfaces of decoders and pool that the ingress calls. No torch, no Ray.

`deployments.ingress.decoders` and `deployments.pool.client` implement them.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from deployments.keys import ImageKey
from deployments.messages import Ensured, PromptJob, Reply, StoredImage
from sam3_engine.types import ImageSize


class DecoderClient(Protocol):
    """The ingress's client of the decoders."""

    async def run(self, job: PromptJob) -> Reply:
        """The reply of the replica most likely to hold the image hot. Raises Overloaded, OtherModel."""
        ...

    async def ready(self) -> bool:
        """Whether a decoder, an encoder and the pool answer now."""
        ...

    async def forget(self, tenant: str, digest: str) -> bool:
        """Drop an image in every replica; returns whether one had it. Raises Overloaded when not all confirm."""
        ...

    async def hot_images(self, tenant: str) -> set[str]:
        """Digests of a tenant's images that any replica holds hot."""
        ...


class PoolClient(Protocol):
    """The ingress's client of the embedding pool."""

    async def ensure(
        self,
        key: ImageKey,
        square: npt.NDArray[np.uint8],
        size: ImageSize,
        source: bytes,
        deadline: float | None,
        received: float,
        quota: int | None,
    ) -> Ensured:
        """Have an image encoded, only once for any number of callers. square: uint8 [S, S, 3] RGB.

        Raises Overloaded and OtherModel. Raises DeadlineExceeded when the deadline of the caller that started the
        encode passed first; that may be another caller's.
        """
        ...

    async def resolve(self, tenant: str, image_id: str, digest: str | None, received: float) -> str | None:
        """The digest that an id names. Raises Overloaded."""
        ...

    async def delete(self, tenant: str, digest: str, at: float) -> bool:
        """Delete an image in every shard; returns whether one had it. Raises Overloaded when not all confirm."""
        ...

    async def images(self, tenant: str) -> list[tuple[StoredImage, list[str]]]:
        """A tenant's images in the pool and the ids of each, newest first. Raises Overloaded."""
        ...
