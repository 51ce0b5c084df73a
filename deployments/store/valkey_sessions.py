"""Sessions of videos on a Valkey or Redis server, beside the images."""

import zlib
from collections.abc import Mapping, Sequence

from deployments.config import PoolConfig, StoreConfig
from deployments.observe.metrics import Metrics
from deployments.store.sessions import Committed, KeptRecord, SessionLimits, SessionsFull
from deployments.store.steps import Steps, text_of


def sessions_of(config: PoolConfig, metrics: Metrics) -> "ValkeySessions | None":
    """The sessions of an application; None where it has no videos."""
    video = config.video
    return ValkeySessions(config.store, metrics, video.idle_s, video.nbytes) if video else None


class ValkeySessions:
    """`SessionStore` on a Valkey or Redis server, beside the images. idle_s, budget: of sessions."""

    def __init__(self, config: StoreConfig, metrics: Metrics, idle_s: float, budget: int) -> None:
        """Raises as `Steps`."""
        self._steps = Steps(
            config, metrics, lambda name: text_of("common", "video", name), (int(idle_s * 1000), budget)
        )
        self._run = self._steps.run

    async def open(
        self, tenant: str, session: str, kept: KeptRecord, file: bytes, limits: SessionLimits, name: str = ""
    ) -> str | None:
        """See SessionStore."""
        most = limits.sessions, limits.nbytes
        answer, before = await self._run(
            "video_open", tenant, session, kept.revision, kept.record, file, *most, name
        )
        if answer != b"open":
            raise SessionsFull
        return before.decode() or None

    async def named(self, tenant: str, name: str) -> tuple[str, bytes] | None:
        """See SessionStore."""
        found = await self._run("video_named", tenant, name)
        return (found[0].decode(), found[1]) if found else None

    async def note(self, tenant: str, session: str, note: bytes) -> bool:
        """See SessionStore."""
        return bool(await self._run("video_note", tenant, session, note))

    async def load(self, tenant: str, session: str) -> KeptRecord | None:
        """See SessionStore."""
        found = await self._run("video_load", tenant, session)
        return KeptRecord(found[0].decode(), found[1]) if found else None

    async def commit(
        self,
        tenant: str,
        session: str,
        base: str,
        kept: KeptRecord,
        limits: SessionLimits,
        answers: Mapping[int, bytes] | None = None,
        oldest: int = 0,
        picture: bytes = b"",
    ) -> Committed:
        """See SessionStore."""
        words: list[str | int | bytes] = []
        for frame, answer in (answers or {}).items():
            words += [frame, zlib.compress(answer, level=1)]
        found = await self._run(
            "video_commit",
            tenant,
            session,
            base,
            kept.revision,
            kept.record,
            picture,
            oldest,
            limits.nbytes,
            *words,
        )
        return Committed(found.decode())

    async def answers(self, tenant: str, session: str, frames: Sequence[int]) -> list[bytes | None]:
        """See SessionStore."""
        found = await self._run("video_answers", tenant, session, *frames)
        return [zlib.decompress(one) if one else None for one in found]

    async def picture(self, tenant: str, session: str) -> bytes | None:
        """See SessionStore."""
        return await self._run("video_part", tenant, session, "picture") or None

    async def file(self, tenant: str, session: str) -> bytes | None:
        """See SessionStore."""
        return await self._run("video_part", tenant, session, "file") or None

    async def end(self, tenant: str, session: str) -> bool:
        """See SessionStore."""
        return bool(await self._run("video_end", tenant, session))

    async def sessions(self, tenant: str) -> list[tuple[str, bytes]]:
        """See SessionStore."""
        return [(name.decode(), record) for name, record in await self._run("video_list", tenant)]

    async def sweep_sessions(self) -> tuple[int, int]:
        """See SessionStore."""
        count, nbytes = await self._run("video_sweep")
        return int(count), int(nbytes)

    async def close(self) -> None:
        """Close the connections."""
        await self._steps.close()
