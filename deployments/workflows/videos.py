"""Answers the calls of a run's video steps by sessions of videos, the same as those of the HTTP routes.

A step finds its session again in the next run by a name: a digest of the definition, the step and the client's name of
the video. A video without a name of the client's has a session that ends with the run.
"""

import asyncio
import hashlib
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import orjson

from deployments.ingress.video.service import VideoSessions
from deployments.protocol import ImageFile, Timings
from deployments.store.sessions import SessionLimits
from deployments.video.protocol import (
    MOST_OBJECTS,
    NO_PROMPTS,
    FramePrompts,
    ObjectPrompt,
    SessionCall,
    SessionRules,
    UnknownSession,
)
from deployments.workflows.frames import Header
from deployments.workflows.prompts import concepts_of, visuals_of

MOST_NOTE_BYTES = 64 * 1024
"""A step's bookkeeping of one video: its objects' classes, mostly."""
SWITCHED_OFF = "videos are switched off on this server: start it with SAM3_VIDEO=true"


class NoVideos(Exception):
    """This server follows no videos."""

    def __init__(self) -> None:
        super().__init__(SWITCHED_OFF)


Beginnings = MutableMapping[tuple[str, str], asyncio.Event]
"""Videos that runs of this process are beginning, by tenant and name; set when the run has noted the video or broken
off."""


class VideoCalls:
    """The videos of one run. A call may name only sessions that the run has found or begun."""

    def __init__(
        self,
        service: VideoSessions | None,
        tenant: str,
        limits: SessionLimits | None,
        definition: Any = None,
        beginnings: Beginnings | None = None,
    ) -> None:
        """service, limits: None where videos are switched off. definition: of the workflow. beginnings: shared by all
        runs of this process."""
        self._service = service
        self._tenant = tenant
        self._limits = limits
        self._definition = definition
        self._own: set[str] = set()
        self._passing: set[str] = set()
        """Sessions that end with the run."""
        self._beginnings: Beginnings = {} if beginnings is None else beginnings
        self._begun: set[tuple[str, str]] = set()
        """The ones of this run."""

    async def find(self, header: Header) -> Any:
        """The session of a step's video, with the step's note; None where there is none.

        A video that another run is beginning is waited for, so that a client need not wait for the answer to its first
        frame. A run that is beginning videos itself does not wait: two could wait for each other.
        """
        service, _ = self._switched_on()
        name = self._tenant, self._name(header)
        while name in self._beginnings and not self._begun:
            await self._beginnings[name].wait()
        if name not in self._beginnings:
            self._beginnings[name] = asyncio.Event()
            self._begun.add(name)
        found = await service.named(*name)
        if found is None or not found[1]:
            return None  # a session without a note is one whose first run broke off
        self._let_go(name)
        self._own.add(found[0])
        return {"session": found[0], "note": orjson.loads(found[1])}

    async def begin(self, header: Header, image: ImageFile, timings: Timings) -> Any:
        """A new session, in place of the one before, and its first frame."""
        service, limits = self._switched_on()
        rules, prompts = _asked(header)
        name = "" if header.get("video") is None else self._name(header)
        session = (await service.open(self._tenant, rules, limits, name=name)).session_id
        self._own.add(session)
        self._passing.add(session)
        frame = await self._frame(session, image, prompts, timings)
        if name:
            self._passing.discard(session)
        return {"session": session, "frame": frame}

    async def follow(self, header: Header, image: ImageFile, timings: Timings) -> Any:
        """The next frame of a session."""
        session = self._session(header)
        return {"session": session, "frame": await self._frame(session, image, NO_PROMPTS, timings)}

    async def note(self, header: Header) -> Any:
        """Keep what a step notes about its video."""
        service, _ = self._switched_on()
        note = orjson.dumps(header["note"])
        if len(note) > MOST_NOTE_BYTES:
            raise ValueError("a video step notes too much")
        await service.note(self._tenant, self._session(header), note)
        self._let_go((self._tenant, self._name(header)))
        return None

    async def close(self) -> None:
        """End the sessions that end with the run."""
        for name in list(self._begun):
            self._let_go(name)
        if self._service is None:
            return
        while self._passing:
            with suppress(UnknownSession):
                await self._service.end(self._tenant, self._passing.pop())

    def _let_go(self, name: tuple[str, str]) -> None:
        """Let those go on that wait for a video which this run was beginning."""
        if name in self._begun:
            self._begun.discard(name)
            self._beginnings.pop(name).set()

    async def _frame(
        self, session: str, image: ImageFile, prompts: FramePrompts, timings: Timings
    ) -> orjson.Fragment:
        service, limits = self._switched_on()
        call = SessionCall(self._tenant, session, "rle", limits)
        (answer,) = await service.frames(call, [image], None, prompts, timings)
        return orjson.Fragment(answer)

    def _switched_on(self) -> tuple[VideoSessions, SessionLimits]:
        if self._service is None or self._limits is None:
            raise NoVideos
        return self._service, self._limits

    def _session(self, header: Header) -> str:
        session = header["session"]
        if session not in self._own:
            raise UnknownSession(str(session))
        return str(session)

    def _name(self, header: Header) -> str:
        step, video = header["step"], header["video"]
        if not isinstance(step, str) or not isinstance(video, str):
            raise TypeError("a step and a video have names")
        said = orjson.dumps([self._definition, step, video], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(said).hexdigest()


def _asked(header: Header) -> tuple[SessionRules, FramePrompts]:
    """What a step wants followed: texts, or objects shown by clicks and boxes."""
    if "texts" in header:
        concepts = concepts_of([{"type": "text", "text": text} for text in header["texts"]])
        return SessionRules(tuple(concepts), every=1), NO_PROMPTS
    prompts = visuals_of(header["prompts"], MOST_OBJECTS)
    if not all(prompt.points or prompt.box for prompt in prompts):
        raise ValueError("an object is shown by points or a box")
    return SessionRules(every=0), FramePrompts(tuple(ObjectPrompt(None, prompt) for prompt in prompts))
