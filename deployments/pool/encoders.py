"""The encoders as a shard of the pool calls them. docs/retries.md lists the repetitions."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.config import HedgeConfig
from deployments.hedging.hedges import Hedges
from deployments.messages import OtherModel, PixelsLost, Source, Square
from deployments.observe import tracing
from deployments.observe.metrics import Metrics
from deployments.pool.embedding_pool import PoolBusy
from deployments.protocol import DeadlineExceeded
from deployments.ray.objects import by_reference, reference_of, settled
from deployments.ray.replicas import replicas_of
from sam3_engine.errors import DeviceFull

CONNECT_S = 1.0
"""Seconds between two looks for encoders that are not deployed yet."""
ENCODER_TRIES = 4
"""Calls for one image, while an update replaces encoders by encoders of another model."""
ENCODER_DEATHS = 1
"""Deaths of an encoder that one image survives."""


class Encoders:
    """Has images encoded, by the deployment that each one names. `waiters`: encodes that it waits for at once.

    `names`: the application's deployments of encoders, empty until they are known. An update may have taken away the
    one that a decoder knew. Then each of the others is asked, and refuses where its model encodes otherwise.
    """

    def __init__(
        self,
        app: str,
        waiters: int,
        hedge: HedgeConfig,
        metrics: Metrics,
        names: Sequence[str] = (),
    ) -> None:
        self.names = tuple(names)
        self._hedge = hedge
        self._metrics = metrics
        self._app = app
        self._hedges: dict[str, Hedges] = {}
        self._handles: dict[str, DeploymentHandle[Any]] = {}
        self._waiters = ThreadPoolExecutor(waiters, thread_name_prefix="await-encode")

    async def connect(self) -> None:
        """Have the encoders' handles before the first image comes: then the head may be away, which a handle asks
        once."""
        while not self.names or not self._handles.keys() >= set(self.names):
            with suppress(RayServeException, RayError):
                for name in self.names:
                    await self._connected(name)
            await asyncio.sleep(CONNECT_S)

    async def encode(self, image: Square | Source) -> tuple[Any, int]:
        """One image's embedding: a reference that this process owns, and its bytes.

        Raises PoolBusy, DeadlineExceeded, PixelsLost, DeviceFull, OtherModel, RayActorError, and what encoding raises.
        """
        image = replace(image, traceparent=tracing.traceparent())
        if not self.names or image.encoder in self.names:
            return await self._by(image.encoder, image)
        for name in self.names:
            with suppress(OtherModel):
                return await self._by(name, image)
        raise OtherModel

    async def _by(self, name: str, image: Square | Source) -> tuple[Any, int]:
        encoder = await self._connected(name)
        if not self._hedge.share:
            return await self._encode(encoder, image)
        hedges = self._hedges.get(name)
        if hedges is None:
            replicas = replicas_of(self._app, name)
            hedges = self._hedges[name] = Hedges(self._hedge, replicas, self._metrics, "encoder", name)
        return await hedges.answer(
            type(image).__name__, "", lambda session: self._encode(encoder.options(session_id=session), image)
        )

    async def _encode(self, encoder: DeploymentHandle[Any], image: Square | Source) -> tuple[Any, int]:
        deaths = 0
        for left in reversed(range(ENCODER_TRIES)):
            response: Any = encoder.remote(image)
            try:
                reference = await reference_of(response)
                return reference, await settled(reference, self._waiters)
            except BackPressureError:
                raise PoolBusy from None
            except DeadlineExceeded:
                raise DeadlineExceeded from None  # without Ray's wrapping, as it goes one hop further
            except PixelsLost:
                raise PixelsLost from None
            except DeviceFull:
                raise DeviceFull from None
            except asyncio.CancelledError:
                response.cancel()
                raise
            except OtherModel:
                if not left:
                    raise OtherModel from None
            except RayActorError:
                deaths += 1
                if deaths > ENCODER_DEATHS or not left:
                    raise
        raise AssertionError("unreachable")

    async def _connected(self, name: str) -> DeploymentHandle[Any]:
        handle = self._handles.get(name)
        if handle is None:
            found = await asyncio.to_thread(serve.get_deployment_handle, name, self._app)
            handle = self._handles[name] = by_reference(found, "encode")
        return handle
