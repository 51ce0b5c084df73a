"""Videos in a decoder: goes on from a session's state, frame by frame, and holds the states of its sessions.

A state is named by the session's revision, so a job that is repeated, or that another request was faster than, finds
what it goes on from: the states of the last two jobs are held. A state that is not here comes from the pool, as it was
saved last. An object whose state is lost begins anew by its last mask.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from ray.exceptions import RayError

from deployments.config import ENCODER
from deployments.decoder.hot import HotCache
from deployments.decoder.saving import SessionStates, StateSaver
from deployments.messages import Expired, NeedImage
from deployments.model.batcher import Batcher
from deployments.model.thread import ModelThread
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import DeadlineExceeded
from deployments.video.messages import EncodedFrame, Tracked, TrackJob, TrackReply
from sam3_engine.embedding import Embedding
from sam3_engine.errors import StaleEmbedding

if TYPE_CHECKING:
    from sam3_engine.engine import Engine
    from sam3_engine.features import Features
    from sam3_engine.tracking.sessions import Answer, Session, Turn

RESUMED_BY_MASKS = (
    "the tracker's memory of this session was lost: its objects go on from their last masks, under their ids"
)


@dataclass(frozen=True, slots=True)
class SessionKey:
    """One tenant's session."""

    tenant: str
    session: str


@dataclass(slots=True)
class HeldStates:
    """A session's states by revision: before and after its last job."""

    states: "dict[str, Session]" = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all states. Two of them share most of their arrays, which count twice."""
        return sum(state.nbytes for state in self.states.values())


class Tracker:
    """The sessions of one decoder."""

    def __init__(
        self,
        engine: "Engine",
        thread: ModelThread,
        post: Executor,
        expand: "Callable[[Embedding], Awaitable[Features]]",
        metrics: Metrics,
        *,
        batch_size: int,
        batch_wait_s: float,
        hot_bytes: int,
        idle_s: float,
        get_timeout_s: float,
        states: SessionStates | None = None,
        encoder: str = ENCODER,
    ) -> None:
        """expand: an embedding's features on the device. post: the executor that encodes masks. batch_size: most
        objects in one call of the model. hot_bytes: most bytes of states. get_timeout_s: longest wait for the object
        store. states: where the sessions' states outlive this process; None: nowhere. encoder: the deployment that
        encodes frames."""
        self._engine = engine
        self._encoder = encoder
        self._thread = thread
        self._post = post
        self._expand = expand
        self._metrics = metrics
        self._get_timeout_s = get_timeout_s
        self._saving = StateSaver(states, post, get_timeout_s)
        self._hot: HotCache[SessionKey, HeldStates] = HotCache(hot_bytes, idle_s)
        on_batch = partial(metrics.observe, NAMES.batch_size, stage="track")
        self.batcher: Batcher[Turn, Answer] = Batcher(self._run, thread, batch_size, batch_wait_s, on_batch)

    @property
    def held_bytes(self) -> int:
        """Bytes of all states."""
        return self._hot.used

    async def answer(self, job: TrackJob) -> TrackReply:
        """Answer a job's frames. NeedImage where one of their embeddings cannot be read, or is of another model."""
        if not job.frames:
            return self._need()
        try:
            return await self._answer(job)
        except DeadlineExceeded:
            return Expired()
        except (TimeoutError, RayError, StaleEmbedding):
            return self._need()

    def forget(self, tenant: str, session: str) -> bool:
        """Drop a session's states. Whether there were any."""
        self._saving.forget(tenant, session)
        return self._hot.discard(SessionKey(tenant, session))

    def drop_idle(self) -> None:
        """Let sessions go that nobody asked for within the idle time."""
        self._hot.drop_idle()

    async def _answer(self, job: TrackJob) -> Tracked:
        from deployments.decoder.resuming import record_of
        from deployments.decoder.track_json import frame_json

        loop = asyncio.get_running_loop()
        stages = dict.fromkeys(("transfer", "queue", "prompt", "post"), 0.0)
        state: Session | None = None
        resumed, answers = "hot", list[bytes]()
        for frame in job.frames:
            began = time.monotonic()
            features = await self._features(frame)
            here = time.monotonic()
            if state is None:
                state, resumed = await self._state(job, frame, features)
            answer, queued_s = await self.batcher.submit(
                _turn(state, frame, features), max(1, len(state.objects)), job.deadline
            )
            tracked = time.monotonic()
            state = answer.session
            warnings = [RESUMED_BY_MASKS] if resumed == "masks" and not answers else []
            written = partial(frame_json, frame, answer, job.mask_format, warnings)
            answers.append(await loop.run_in_executor(self._post, written))
            stages["transfer"] += here - began
            stages["queue"] += queued_s
            stages["prompt"] += tracked - here - queued_s
            stages["post"] += time.monotonic() - tracked
        assert state is not None
        self._hold(job, state)
        await self._saving.save(job.tenant, job.session, job.revision, state, now=bool(job.frames[0].prompts))
        record = await loop.run_in_executor(self._post, record_of, state, job.record, job.frames[-1])
        return Tracked(record, tuple(answers), resumed, stages)

    async def _features(self, frame: EncodedFrame) -> "Features":
        async with asyncio.timeout(self._get_timeout_s):
            embedding = await frame.reference[0]
        return await self._expand(embedding)

    async def _state(self, job: TrackJob, frame: EncodedFrame, features: "Features") -> "tuple[Session, str]":
        """The session's state, and where it was: hot, warm, or masks, where something of it was lost."""
        from deployments.decoder.resuming import resumed, rules_of

        held = self._hot.get(SessionKey(job.tenant, job.session))
        here = held.states.get(job.base) if held else None
        if here is not None:
            return replace(here, rules=rules_of(job.record), detected=job.record.detected), "hot"
        if not job.record.objects:
            return resumed(self._engine, job.record, None, features, frame.size)[0], "hot"
        block = await self._saving.find(job.tenant, job.session)
        resume = partial(resumed, self._engine, job.record, block, features, frame.size)
        state, lost = await asyncio.get_running_loop().run_in_executor(self._thread, resume)
        return state, "masks" if lost else "warm"

    def _hold(self, job: TrackJob, state: "Session") -> None:
        key = SessionKey(job.tenant, job.session)
        held = self._hot.get(key) or HeldStates()
        base = held.states.get(job.base)
        held.states = {job.base: base} if base is not None else {}
        held.states[job.revision] = state
        self._hot.put(key, held)

    def _run(self, turns: "Sequence[Turn]") -> "Sequence[Answer]":
        from sam3_engine.tracking.sessions import advance

        return advance(self._engine, turns)

    def _need(self) -> NeedImage:
        return NeedImage(self._engine.embedding_version, self._engine.spec.image_size, self._encoder)


def _turn(state: "Session", frame: EncodedFrame, features: "Features") -> "Turn":
    from sam3_engine.tracking.sessions import NewObject, Turn

    prompts = frame.prompts.objects
    return Turn(
        state,
        features,
        frame.size,
        frame.number,
        [NewObject(one.prompt, one.label) for one in prompts if one.object_id is None and one.prompt],
        {one.object_id: one.prompt for one in prompts if one.object_id is not None and one.prompt},
        [one.object_id for one in prompts if one.object_id is not None and one.prompt is None],
    )
