"""The interfaces of decoders and pool that the ingress calls. No torch, no Ray.

`deployments.ingress.decoders` and `deployments.pool.client` implement them. The third interface is
`deployments.store.protocol.Store`.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from deployments.keys import ImageKey
from deployments.messages import Ensured, PromptJob, Reply
from deployments.protocol import ModelStatus
from sam3_engine.types import ImageSize


class DecoderClient(Protocol):
    """The ingress's client of the decoders."""

    async def run(self, job: PromptJob) -> Reply:
        """The reply of the replica most likely to hold the image hot. Raises Overloaded, OtherModel, StoreAway."""
        ...

    async def ready(self) -> bool:
        """True if a decoder, an encoder and the pool answer now."""
        ...

    def status(self) -> ModelStatus:
        """The state of the model, as far as this process has heard."""
        ...

    async def forget(self, tenant: str, digest: str, stamp: int) -> bool:
        """Drop an image in every replica; returns whether one had it. stamp: of its deletion. Raises Overloaded when
        not all confirm."""
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
        born: int,
        deadline: float | None,
        quota: int | None,
    ) -> Ensured:
        """Have an image encoded, only once for any number of callers. square: uint8 [S, S, 3] RGB. born: as the
        store said.

        Raises Overloaded and OtherModel. Raises DeadlineExceeded when the deadline of the caller that started the
        encode passed first; that may be another caller's.
        """
        ...

    async def delete(self, tenant: str, digest: str, stamp: int) -> bool:
        """Forget an image in every shard; returns whether one had it. Raises Overloaded when not all confirm."""
        ...

    async def embeddings(self, tenant: str) -> dict[str, int]:
        """Bytes of a tenant's embeddings by digest. Raises Overloaded."""
        ...
