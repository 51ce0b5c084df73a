"""What the tracker remembers of one object between frames: bounded, immutable, and of no process.

An object's memories are of two kinds. Conditioning frames are those that a prompt was given on: at most
MAX_CONDITIONING, the closest to the present. Of the frames that were tracked, the last `ModelSpec.memories` are
remembered with all their places, and the last POINTERS by one vector. The full size has the package's own numbers, and
the rules below are the package's, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from sam3.model.sam3_tracker_utils import select_closest_cond_frames

MAX_CONDITIONING = 4
"""Frames with a prompt that are attended to. More are remembered only while they are recent."""
POINTERS = 15
"""Frames before the present one whose pointers are attended to."""
MEMORY_DTYPE = torch.bfloat16
"""Number format of memories at rest, as the package's predictor keeps them."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of an object in one frame.

    features: bfloat16 [d/4, g, g], None for a frame of which only the pointer is still needed. pointer: float32 [d].
    Both on the device of the engine.
    """

    frame: int
    features: torch.Tensor | None
    pointer: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of both tensors."""
        return self.pointer.nbytes + (0 if self.features is None else self.features.nbytes)

    def without_features(self) -> "Memory":
        """The pointer alone."""
        return Memory(self.frame, None, self.pointer)


@dataclass(frozen=True, slots=True)
class TrackState:
    """All that the next frame's masks of one object depend on, besides the frame.

    version: of the engine that made it (`Engine.track_version`). memories: most tracked frames that are remembered with
    all their places. frame: index of the last frame that was answered. conditioning, recent: in the order of frames.
    logits: float32 [4g, 4g], the last frame's mask logits. look: of the last prompt's mask, float32 [d]; see `looks`.

    At the official size a state takes 0.66 MB a memory and 0.33 MB for the logits: 5.0 MB with one conditioning frame,
    7.0 MB at most. For `tiny` these are 115 KB and 171 KB.
    """

    version: str
    memories: int
    frame: int
    conditioning: tuple[Memory, ...]
    recent: tuple[Memory, ...]
    logits: torch.Tensor
    look: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together."""
        memories = sum(memory.nbytes for memory in (*self.conditioning, *self.recent))
        return self.logits.nbytes + self.look.nbytes + memories


def attended(state: TrackState, frame: int) -> tuple[list[tuple[int, Memory]], list[tuple[int, Memory]]]:
    """What the present frame attends to: memories and pointers, each with its place in time.

    A memory's place is a row of the model's table: the last one for a conditioning frame, else the number of frames
    since, minus one. A pointer's is the number of frames since.
    """
    memories = [(state.memories, memory) for memory in state.conditioning]
    pointers = [(frame - memory.frame, memory) for memory in state.conditioning if memory.frame <= frame]
    for memory in state.recent:
        since = frame - memory.frame
        if 1 <= since <= state.memories and memory.features is not None:
            memories.append((since - 1, memory))
        if 1 <= since <= POINTERS:
            pointers.append((since, memory))
    return memories, pointers


def followed(state: TrackState, memory: Memory, logits: torch.Tensor) -> TrackState:
    """The state after a frame on which the object was tracked."""
    recent = _recent([*state.recent, memory], memory.frame, state.memories)
    return replace(state, frame=memory.frame, recent=recent, logits=logits)


def rewritten(state: TrackState, features: torch.Tensor, logits: torch.Tensor) -> TrackState:
    """The state after a tracked frame whose mask has been changed: its memory is another one. The pointer stays."""
    *earlier, last = state.recent
    memory = Memory(last.frame, features, last.pointer)
    return replace(state, recent=(*earlier, memory), logits=logits)


def passed_over(before: TrackState, frame: int, logits: torch.Tensor) -> TrackState:
    """The state after a frame that the object does not remember. Its earlier memories stay as recent as they were, so
    that an object that is hidden for long is still known."""
    since = frame - before.frame
    recent = tuple(replace(memory, frame=memory.frame + since) for memory in before.recent)
    return replace(before, frame=frame, recent=recent, logits=logits)


def prompted(
    version: str,
    memories: int,
    earlier: TrackState | None,
    memory: Memory,
    logits: torch.Tensor,
    look: torch.Tensor,
) -> TrackState:
    """The state after a frame with a prompt: one conditioning frame more.

    earlier: the object's state so far. Its memories of this frame and of later ones are dropped: tracking goes on
    from here. A conditioning frame that is one too many is remembered like a tracked one.
    """
    frame = memory.frame
    frames = {} if earlier is None else {one.frame: one for one in earlier.conditioning}
    frames[frame] = memory
    kept, others = select_closest_cond_frames(frame + 1, frames, MAX_CONDITIONING)
    past = () if earlier is None else earlier.recent
    before = [one for one in (*past, *others.values()) if one.frame < frame]
    conditioning = tuple(kept[number] for number in sorted(kept))
    recent = _recent(before, frame, memories)
    return TrackState(version, memories, frame, conditioning, recent, logits, look)


def _recent(memories: Sequence[Memory], frame: int, spatial: int) -> tuple[Memory, ...]:
    """What the frames after `frame` can still attend to, in the order of frames. spatial: most with their places."""
    kept = []
    for memory in sorted(memories, key=lambda one: one.frame):
        since = frame + 1 - memory.frame
        if since <= spatial:
            kept.append(memory)
        elif since <= POINTERS:
            kept.append(memory.without_features())
    return tuple(kept)
