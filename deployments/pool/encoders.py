"""The encoders as a shard of the pool calls them. docs/retries.md lists the repetitions."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.config import ENCODER, HedgeConfig
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
    """Has images encoded. `waiters`: encodes that it waits for at once."""

    def __init__(self, app: str, waiters: int, hedge: HedgeConfig, metrics: Metrics) -> None:
        replicas = replicas_of(app, ENCODER)
        self._hedges = Hedges(hedge, replicas, metrics, "encoder") if hedge.share else None
        self._app = app
        self._handle: DeploymentHandle[Any] | None = None
        self._waiters = ThreadPoolExecutor(waiters, thread_name_prefix="await-encode")

    async def connect(self) -> None:
        """Have the encoders' handle before the first image comes: then the head may be away, which the handle asks
        once."""
        while self._handle is None:
            with suppress(RayServeException, RayError):
                await self._connected()
            await asyncio.sleep(CONNECT_S)

    async def encode(self, image: Square | Source) -> tuple[Any, int]:
        """One image's embedding: a reference that this process owns, and its bytes.

        Raises PoolBusy, DeadlineExceeded, PixelsLost, DeviceFull, OtherModel, RayActorError, and what encoding raises.
        """
        encoder = await self._connected()
        image = replace(image, traceparent=tracing.traceparent())
        if self._hedges is None:
            return await self._encode(encoder, image)
        return await self._hedges.answer(
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

    async def _connected(self) -> DeploymentHandle[Any]:
        if self._handle is None:
            handle = await asyncio.to_thread(serve.get_deployment_handle, ENCODER, self._app)
            self._handle = by_reference(handle, "encode")
        return self._handle
