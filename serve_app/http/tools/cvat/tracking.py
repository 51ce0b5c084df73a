"""The tracker: a session of videos follows shapes from frame to frame. The state of a shape, which CVAT signs and sends
back with the next frame, is a handle."""

import asyncio
from collections import defaultdict
from typing import Any

import orjson

from deployments.ingress.video.service import VideoSessions
from deployments.video.protocol import (
    NO_PROMPTS,
    FramePrompts,
    ObjectPrompt,
    SessionCall,
    SessionRules,
)
from sam3_engine.rle import from_rle
from sam3_engine.types import VisualPrompt
from serve_app.http.errors import InvalidRequest, NoVideo
from serve_app.http.reading.images import Base64Image
from serve_app.http.tools.asking import Asking
from serve_app.http.tools.cvat.schemas import CvatShape, CvatState, CvatTracking
from serve_app.http.tools.cvat.shapes import followed
from serve_app.http.video.call import limits_of

Places = list[tuple[int, CvatState]]
"""Objects of one session, by their places in the request."""


async def track(asking: Asking) -> dict[str, Any]:
    """The shapes in the request's frame, and their states. New shapes are answered as they came."""
    fields = asking.fields(CvatTracking)
    shapes, states = list(fields.shapes or ()), list(fields.states or ())
    count = max(len(shapes), len(states))
    shapes += [None] * (count - len(shapes))
    states += [None] * (count - len(states))
    begun: list[tuple[int, CvatShape]] = []
    tracked: dict[tuple[str, int], Places] = defaultdict(list)
    for place, (shape, state) in enumerate(zip(shapes, states, strict=True)):
        if state is not None:
            tracked[state.session, state.frame].append((place, state))
        elif shape is not None:
            begun.append((place, shape))
        else:
            raise InvalidRequest.one("an object has a shape or a state", "shapes", place)
    service = asking.context.video
    if service is None:
        raise NoVideo
    image = Base64Image(fields.image)
    await asking.enter([image])
    found: dict[int, tuple[Any, Any]] = {}
    if begun:
        found |= await _begin(asking, service, image, begun)
    for (session, frame), places in tracked.items():
        found |= await _follow(asking, service, image, session, frame, places)
    ordered = [found[place] for place in range(count)]
    return {"shapes": [shape for shape, _ in ordered], "states": [state for _, state in ordered]}


async def _begin(
    asking: Asking, service: VideoSessions, image: Base64Image, begun: list[tuple[int, CvatShape]]
) -> dict[int, tuple[Any, Any]]:
    prompts = [ObjectPrompt(None, VisualPrompt((), shape.box())) for _, shape in begun]
    limits = limits_of(asking.context.settings, asking.context.keys)
    info = await service.open(asking.tenant, SessionRules(every=0), limits)
    try:
        frame = await _frame(asking, service, info.session_id, image, 0, FramePrompts(tuple(prompts)))
    except BaseException:
        await asyncio.shield(service.end(asking.tenant, info.session_id))
        raise
    ids = sorted([*(one["id"] for one in frame["objects"]), *frame["hidden"]])
    return {
        place: (shape.model_dump(), _state(info.session_id, number, 0, shape.type))
        for number, (place, shape) in zip(ids, begun, strict=True)
    }


async def _follow(
    asking: Asking, service: VideoSessions, image: Base64Image, session: str, before: int, places: Places
) -> dict[int, tuple[Any, Any]]:
    frame = await _frame(asking, service, session, image, before + 1, NO_PROMPTS)
    objects = {one["id"]: one for one in frame["objects"]}
    return await asyncio.to_thread(
        lambda: {
            place: (
                _shape(objects.get(state.object), state.type),
                _state(session, state.object, before + 1, state.type),
            )
            for place, state in places
        }
    )


async def _frame(
    asking: Asking,
    service: VideoSessions,
    session: str,
    image: Base64Image,
    number: int,
    prompts: FramePrompts,
) -> dict[str, Any]:
    limits = limits_of(asking.context.settings, asking.context.keys)
    call = SessionCall(asking.tenant, session, "rle", limits)
    (answer,) = await service.frames(call, [image], number, prompts, asking.exchange.timings)
    return dict(orjson.loads(answer))


def _state(session: str, number: int, frame: int, kind: str) -> dict[str, Any]:
    return {"session": session, "object": number, "frame": frame, "type": kind}


def _shape(found: dict[str, Any] | None, kind: str) -> dict[str, Any] | None:
    """An object as CVAT reads it; None for one that is not seen."""
    if found is None:
        return None
    box = found["box"]
    sides = [box["x0"], box["y0"], box["x1"], box["y1"]]
    return {"type": kind, "points": followed(kind, sides, lambda: from_rle(found["masks"]))}
