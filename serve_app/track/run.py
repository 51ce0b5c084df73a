"""Tracks a video file frame by frame into a journal, from wherever an earlier run stopped."""

from collections.abc import Callable

from sam3_engine.engine import Engine
from sam3_engine.regions import mask_of_array
from sam3_engine.rle import to_rle
from sam3_engine.tracking.following import follow
from sam3_engine.tracking.sessions import Answer, NewObject, Rules, Session, Shown
from sam3_engine.tracking.storing import session_from_bytes, session_to_bytes
from sam3_engine.types import ConceptPrompt, ImageSize
from sam3_engine.video_files.reading import Frame, Video
from serve_app.track.asked import Asked
from serve_app.track.journal import Found, Journal, Line

SESSION_EVERY = 25
"""Frames after which the tracker's state is saved: so many are tracked again after a crash."""


def track(
    engine: Engine, video: Video, asked: Asked, journal: Journal, go_on: Callable[[Session], bool]
) -> bool:
    """Track until the video ends or `go_on` says no; returns whether it ended. go_on: called with the session after
    each frame.

    Raises ValueError for prompts outside the frame that they are for, and where the video does not have that frame;
    the errors of `Video.frames`, and OSError.
    """
    stored = journal.resume()
    rules = Rules(
        tuple(ConceptPrompt(text, score_threshold=asked.threshold) for text in asked.texts), asked.every
    )
    session = session_from_bytes(stored, rules, engine) if stored else Session(rules)
    went_on = True

    def new(frame: Frame) -> list[NewObject]:
        if frame.number != asked.frame:
            return []
        return [NewObject(prompt, "object") for prompt in asked.prompts(frame.size)]

    for frame, answer in follow(engine, video.frames(session.frame + 1), session, new):
        session = answer.session
        went_on = go_on(session)
        due = not went_on or (session.frame + 1) % SESSION_EVERY == 0
        journal.add([_line(frame, answer)], session_to_bytes(session) if due else None)
        if not went_on:
            return False
    if session.frame < asked.frame and (asked.points or asked.boxes):
        journal.remove()  # the same command would fail again
        raise ValueError(f"the video has no frame {asked.frame}: its last one is {session.frame}")
    journal.add([], session_to_bytes(session))
    return True


def _line(frame: Frame, answer: Answer) -> Line:
    found = [_found(one, frame.size) for one in answer.shown if one.visible]
    return Line(
        frame=frame.number,
        seconds=round(frame.seconds, 6),
        size=list(frame.size),
        objects=[one for one in found if one["area"]],
    )


def _found(shown: Shown, size: ImageSize) -> Found:
    mask = mask_of_array(shown.mask_logits.numpy(), size)
    return Found(
        id=shown.id,
        label=shown.label or "object",
        score=round(shown.score, 4),
        box=list(mask.box),
        area=mask.area,
        rle=to_rle(mask),
    )
