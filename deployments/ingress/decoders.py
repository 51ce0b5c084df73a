"""The ingress's client of the decoders, on Serve's handles."""

import asyncio
import math
import time
from collections.abc import Hashable
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.handle import DeploymentHandle

from deployments.config import HedgeConfig
from deployments.hedging.hedges import Hedges
from deployments.keys import affinity
from deployments.messages import PromptJob, Reply
from deployments.observe.metrics import Metrics
from deployments.protocol import ModelStatus, Overloaded
from deployments.ray.calls import call, call_all
from deployments.ray.replicas import replicas_of
from deployments.video.messages import TrackJob, TrackReply

READY_TIMEOUT_S = 2.0
FORGET_TRIES = 2
"""Rounds in which all replicas are told of a deletion: docs/retries.md."""
READY_FOR_S = 1.0
"""Seconds for which a positive readiness check is cached."""


def kind(job: PromptJob) -> tuple[str, bool, int]:
    """Jobs of one kind take about equally long: with as many prompts, up to a factor of two, and alike in whether the
    decoder has to fetch the embedding."""
    prompts = getattr(job.request, "prompts", ())
    return type(job.request).__name__, job.warm is not None, len(prompts).bit_length()


class ServeDecoders:
    """`deployments.ingress.backends.DecoderClient` on Serve's handles."""

    def __init__(
        self,
        decoder: DeploymentHandle[Any],
        encoder: DeploymentHandle[Any],
        retry_after_s: float,
        hedge: HedgeConfig,
        metrics: Metrics,
        may_sleep: bool = False,
    ) -> None:
        """may_sleep: idle replicas may all be stopped. A readiness check would start them again, so after the first
        positive check the service counts as ready; the next request starts them."""
        replicas = replicas_of(decoder.app_name, decoder.deployment_name)
        name = decoder.deployment_name
        self._hedges = Hedges(hedge, replicas, metrics, "decoder", name) if hedge.share else None
        self._replicas = replicas
        self._under_way = 0
        self._may_sleep = may_sleep
        self._decoder = decoder
        self._encoder = encoder
        self._retry_after_s = retry_after_s
        self._ready_until = 0.0

    async def run(self, job: PromptJob) -> Reply:
        """Call the replica that this image hashes to, and another one where that takes far too long. Raises Overloaded,
        OtherModel."""
        key = affinity(job.tenant, job.digest, job.elsewhere)
        self._under_way += 1
        try:
            reply: Reply = await self._hedged("run", job, key, kind(job), references=job.warm is not None)
            return reply
        finally:
            self._under_way -= 1

    def status(self) -> ModelStatus:
        """The state of the model, as far as this process has heard. Asking does not wake it."""
        running = self._replicas.count
        if running:
            return ModelStatus("ready", running)
        return ModelStatus("asleep" if self._may_sleep and not self._under_way else "loading", 0)

    async def track(self, job: TrackJob) -> TrackReply:
        """Call the replica that this session hashes to. Raises Overloaded."""
        key, frames = affinity(job.tenant, job.session, job.elsewhere), len(job.frames)
        reply: TrackReply = await self._hedged("track", job, key, ("track", frames), references=frames > 0)
        return reply

    async def _hedged(self, method: str, job: Any, key: str, kind: Hashable, *, references: bool) -> Any:
        """The answer of the replica that the key hashes to, or of another one. references, errors: see `call`."""

        async def ask(session: str) -> Any:
            again_s = self._retry_after_s
            return await call(
                self._decoder, method, job, affinity=session, references=references, retry_after_s=again_s
            )

        if self._hedges is None:
            return await ask(key)
        return await self._hedges.answer(kind, key, ask)

    async def forget_session(self, tenant: str, session: str) -> None:
        """Drop a video's state in every replica that answers. In any other one it ends by itself."""
        await call_all(self._decoder, "forget_session", tenant, session)

    async def forget(self, tenant: str, digest: str, stamp: int) -> bool:
        """Drop an image in every running replica; returns whether one had it. Raises Overloaded when not all
        confirm."""
        held = False
        for left in reversed(range(FORGET_TRIES)):
            answers = await call_all(self._decoder, "forget", tenant, digest, stamp)
            held = held or any(one is True for one in answers)
            # A replica that died has dropped everything.
            errors = [one for one in answers if isinstance(one, Exception)]
            unsure = [error for error in errors if not isinstance(error, RayActorError)]
            if not unsure:
                return held
            if not left:
                raise Overloaded(self._retry_after_s) from unsure[0]
        raise AssertionError("unreachable")

    async def hot_images(self, tenant: str) -> set[str]:
        """Digests of a tenant's images that any replica holds hot. Replicas that do not answer count as empty."""
        answers = await call_all(self._decoder, "hot_images", tenant)
        return {digest for answer in answers if isinstance(answer, list) for digest in answer}

    async def ready(self) -> bool:
        """True if a decoder, an encoder and the pool answer within READY_TIMEOUT_S, or did a moment ago."""
        if time.monotonic() < self._ready_until:
            return True
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await asyncio.gather(call(self._decoder, "ready"), call(self._encoder, "ready"))
        except Exception:  # any failure means "not ready"
            return False
        self._ready_until = math.inf if self._may_sleep else time.monotonic() + READY_FOR_S
        return True
