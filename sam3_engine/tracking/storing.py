"""Copies of tracks and sessions between the device and host memory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sam3_engine.engine import Engine
from sam3_engine.errors import StaleTrack
from sam3_engine.tracking.sessions import Followed, Rules, Session
from sam3_engine.tracking.state import MEMORY_DTYPE, Memory, TrackState
from sam3_engine.transfer import as_array, as_tensor

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class StoredTrack:
    """The arrays of a `state.TrackState`; they may be read-only.

    version: of the engine that made it. frame: the last one that was answered. arrays: "conditioning" and "recent",
    memories bfloat16 viewed as uint16 [n, d/4, g, g]; "conditioning_pointers" and "recent_pointers", float32 [n, d];
    "conditioning_frames" and "recent_frames", int64 [n]; "logits", float32 [4g, 4g]; "look", float32 [d], which an
    earlier release did not store. There are more recent pointers than recent memories; the memories are those of the
    last frames.
    """

    version: str
    frame: int
    arrays: Arrays


NAMES = (
    *(f"{part}{end}" for part in ("conditioning", "recent") for end in ("", "_pointers", "_frames")),
    "logits",
    "look",
)


def store(state: TrackState) -> StoredTrack:
    """The state in host memory. `restore` gives an equal one."""
    with_features = [one for one in state.recent if one.features is not None]
    grid = state.logits.shape[-1] // 4
    arrays = {"logits": state.logits.cpu().numpy(), "look": state.look.cpu().numpy()}
    for name, memories, spatial in (
        ("conditioning", state.conditioning, state.conditioning),
        ("recent", state.recent, with_features),
    ):
        features = [one.features for one in spatial if one.features is not None]
        empty = torch.empty(0, 0, grid, grid, dtype=MEMORY_DTYPE)
        arrays[name] = as_array(torch.stack(features).cpu().contiguous() if features else empty)
        pointers = torch.stack([one.pointer for one in memories]).cpu() if memories else torch.empty(0, 0)
        arrays[f"{name}_pointers"] = pointers.numpy()
        arrays[f"{name}_frames"] = np.array([one.frame for one in memories], dtype=np.int64)
    return StoredTrack(state.version, state.frame, arrays)


def restore(stored: StoredTrack, engine: Engine) -> TrackState:
    """The state on the engine's device. Raises StaleTrack for one of another engine."""
    if stored.version != engine.track_version:
        raise StaleTrack(f"a track of {stored.version!r} cannot go on with {engine.track_version!r}")
    look = stored.arrays.get("look", np.zeros(engine.spec.d_model, dtype=np.float32))
    return TrackState(
        stored.version,
        engine.spec.memories,
        stored.frame,
        tuple(_memories(stored, "conditioning", engine.device)),
        tuple(_memories(stored, "recent", engine.device)),
        *(as_tensor(array).to(engine.device) for array in (stored.arrays["logits"], look)),
    )


def _memories(stored: StoredTrack, name: str, device: torch.device) -> Sequence[Memory]:
    features = as_tensor(stored.arrays[name]).to(device)
    pointers = as_tensor(stored.arrays[f"{name}_pointers"]).to(device)
    frames = stored.arrays[f"{name}_frames"].tolist()
    without = len(frames) - len(features)
    return [
        Memory(frame, features[row - without] if row >= without else None, pointers[row])
        for row, frame in enumerate(frames)
    ]


def session_to_bytes(session: Session) -> bytes:
    """A session as one block, without its rules: these are the caller's. `session_from_bytes` gives an equal one."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    objects = []
    for one in session.objects:
        stored = store(one.state)
        arrays |= {f"{one.id} {name}": array for name, array in stored.arrays.items()}
        arrays[f"{one.id} last_seen"] = one.last_seen
        objects.append(
            {
                "id": one.id,
                "label": one.label,
                "concept": one.concept,
                "score": one.score,
                "seen": one.seen,
                "unsupported": one.unsupported,
                "version": stored.version,
                "frame": stored.frame,
            }
        )
    facts = {
        "frame": session.frame,
        "detected": session.detected,
        "next_id": session.next_id,
        "objects": objects,
    }
    return save({**arrays, "facts": np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)})


def session_from_bytes(block: bytes, rules: Rules, engine: Engine) -> Session:
    """The session on the engine's device. Raises ValueError for other bytes, and StaleTrack."""
    try:
        arrays = load(block)
        facts = json.loads(arrays["facts"].tobytes())
        objects = tuple(_followed(one, arrays, engine) for one in facts["objects"])
        return Session(rules, facts["frame"], facts["detected"], facts["next_id"], objects)
    except (SafetensorError, KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError("these bytes are no stored session") from error


def _followed(facts: dict[str, Any], arrays: Arrays, engine: Engine) -> Followed:
    number = facts["id"]
    own = {name: arrays[key] for name in NAMES if (key := f"{number} {name}") in arrays}
    return Followed(
        number,
        facts["label"],
        facts["concept"],
        facts["score"],
        restore(StoredTrack(facts["version"], facts["frame"], own), engine),
        facts["seen"],
        arrays[f"{number} last_seen"].astype(np.uint8),
        facts["unsupported"],
    )
