"""Decoders and pool, as a request needs them. No torch, no Ray.

`deployments.ingress.decoders` and `deployments.pool.client` are the real ones.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from deployments.keys import ImageKey
from deployments.messages import Ensured, PromptJob, Reply, StoredImage
from sam3_engine.types import ImageSize


class DecoderClient(Protocol):
    """The decoders, seen from the ingress."""

    async def run(self, job: PromptJob) -> Reply:
        """The reply of the replica that most likely has the image hot. Raises Overloaded, OtherModel."""
        ...

    async def ready(self) -> bool:
        """Whether a decoder and an encoder would answer now."""
        ...

    async def forget(self, tenant: str, digest: str) -> bool:
        """Drop an image in every replica. Whether one had it. Raises Overloaded when not all confirm."""
        ...

    async def hot_images(self, tenant: str) -> set[str]:
        """Digests of a tenant's images that some replica has in its memory."""
        ...


class PoolClient(Protocol):
    """The embedding pool, seen from the ingress."""

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
        """Have an image encoded, once however many ask. square: uint8 [S, S, 3] RGB.

        Raises Overloaded, OtherModel, and DeadlineExceeded when the encode's turn came after the deadline of whoever
        started it.
        """
        ...

    async def resolve(self, tenant: str, image_id: str, digest: str | None, received: float) -> str | None:
        """The digest that an id names. Raises Overloaded."""
        ...

    async def delete(self, tenant: str, digest: str, at: float) -> bool:
        """Forget an image in every shard. Whether one had it. Raises Overloaded when not all confirm."""
        ...

    async def images(self, tenant: str) -> list[tuple[StoredImage, list[str]]]:
        """What is held of a tenant's images, and their ids; newest first. Raises Overloaded."""
        ...
