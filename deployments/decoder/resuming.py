"""Between a session's state and its record: what is kept of a state, and a state from a record alone."""

from dataclasses import replace

import numpy as np
import torch

from deployments.video.messages import EncodedFrame
from deployments.video.record import KeptObject, Record, deflated, inflated
from sam3_engine.engine import Engine
from sam3_engine.errors import StaleTrack
from sam3_engine.features import Features
from sam3_engine.tracking.passes import StartItem, start
from sam3_engine.tracking.prompts import MaskPrompt
from sam3_engine.tracking.sessions import Followed, Rules, Session
from sam3_engine.tracking.state import TrackState
from sam3_engine.tracking.storing import session_from_bytes
from sam3_engine.types import ImageSize


def rules_of(record: Record) -> Rules:
    """The engine's form of a session's rules."""
    return Rules(record.rules.concepts, record.rules.every, record.rules.most)


def record_of(state: Session, before: Record, frame: EncodedFrame) -> Record:
    """The record of a session after a frame. before: its record so far."""
    objects = tuple(
        KeptObject(
            one.id,
            one.label,
            one.concept,
            one.score,
            one.seen,
            one.unsupported,
            deflated(one.last_seen.tobytes()),
        )
        for one in state.objects
    )
    return replace(
        before,
        frame=state.frame,
        detected=state.detected,
        next_id=state.next_id,
        objects=objects,
        size=frame.size,
        seconds=frame.seconds,
    )


def resumed(
    engine: Engine, record: Record, saved: bytes | None, features: Features, size: ImageSize
) -> tuple[Session, bool]:
    """The session of a record, and whether the state of an object was lost.

    saved: its state as it was saved last, maybe some frames ago; None: there is none. An object that is not in it
    begins anew under its id, by the mask that it was seen with last. features, size: of the next frame. It stands for
    the record's own, which is gone, so the masks are as old as the record: the tracker then looks for them in the next
    frame.
    """
    rules = rules_of(record)
    states = _states(engine, rules, saved, record.frame)
    lost = [one for one in record.objects if one.id not in states]
    prompts = [MaskPrompt(_logits(one)) for one in lost]
    begun = start(engine, [StartItem(features, size, prompts, max(record.frame, 0))])[0]
    states |= {one.id: tracked.state for one, tracked in zip(lost, begun, strict=True)}
    objects = tuple(_followed(one, states[one.id]) for one in record.objects)
    return Session(rules, record.frame, record.detected, record.next_id, objects), bool(lost)


def _states(engine: Engine, rules: Rules, saved: bytes | None, frame: int) -> dict[int, TrackState]:
    """The saved states by object. Those of later frames are of a job that did not count."""
    if saved is None:
        return {}
    try:
        session = session_from_bytes(saved, rules, engine)
    except (ValueError, StaleTrack):
        return {}
    return {one.id: one.state for one in session.objects if one.state.frame <= frame}


def _followed(kept: KeptObject, state: TrackState) -> Followed:
    """The record's object with its state. That gives the mask too, where the record's is of a model of another size."""
    bits = np.frombuffer(inflated(kept.last_seen), dtype=np.uint8)
    own = np.packbits((state.logits > 0).cpu().numpy())
    return Followed(
        kept.id,
        kept.label,
        kept.concept,
        kept.score,
        state,
        kept.seen,
        bits if len(bits) == len(own) else own,
        kept.unsupported,
    )


def _logits(kept: KeptObject) -> torch.Tensor:
    """The last mask as logits [h, h], above zero where it is."""
    bits = np.unpackbits(np.frombuffer(inflated(kept.last_seen), dtype=np.uint8))
    side = int(len(bits) ** 0.5)
    mask = bits[: side * side].reshape(side, side)
    return torch.from_numpy(np.where(mask > 0, np.float32(1), np.float32(-1)))
