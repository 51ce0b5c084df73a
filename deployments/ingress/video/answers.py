"""Answers that a session keeps: a request that is repeated gets the same one, and nothing is done twice."""

import hashlib
from collections.abc import Sequence

from deployments.store.sessions import SessionStore
from deployments.video.protocol import FramePrompts, OutOfOrder, SessionCall
from deployments.video.record import Record

KEPT_ANSWERS = 32
"""Frames whose answers a session keeps."""
LAST_PROMPTS = -1
"""The number under which the answer to the latest prompts is kept that came without a frame."""
MOST_ANSWER_BYTES = 2**20
"""An answer that takes more is not kept."""
DIGEST_BYTES = 16


def digest_of(call: SessionCall, prompts: FramePrompts, picture: bytes = b"", number: int = 0) -> bytes:
    """What tells a question from others about the same frame. picture: its file; empty for a frame of a video
    file, whose number tells it from others. number: of the frame, for prompts without a picture."""
    digest = hashlib.sha256(picture)
    digest.update(repr((number, prompts, call.mask_format)).encode())
    return digest.digest()[:DIGEST_BYTES]


def to_keep(answers: Sequence[bytes], digests: Sequence[bytes], first: int) -> dict[int, bytes]:
    """What the store keeps of answers, by number. first: of the first answer."""
    pairs = enumerate(zip(answers, digests, strict=True), first)
    return {number: digest + answer for number, (answer, digest) in pairs if len(answer) <= MOST_ANSWER_BYTES}


async def known(
    store: SessionStore, call: SessionCall, record: Record, start: int, digests: Sequence[bytes]
) -> list[bytes]:
    """Answers of the first of these frames, as far as the session has answered them.

    start: number of the first. digests: of all questions. Raises OutOfOrder for other questions than the answered ones,
    and for frames that leave some out.
    """
    expected = record.next_frame
    if start > expected:
        raise OutOfOrder(f"the session expects frame {expected}, not {start}", expected)
    count = min(expected - start, len(digests))
    if not count:
        return []
    found = await store.answers(call.tenant, call.session_id, range(start, start + count))
    answers = []
    for number, (answer, digest) in enumerate(zip(found, digests, strict=False), start):
        if answer is None:
            raise OutOfOrder(
                f"frame {number} was answered or left out, and no answer of it is kept: the session expects frame "
                f"{expected}",
                expected,
            )
        if answer[:DIGEST_BYTES] != digest:
            raise OutOfOrder(
                f"frame {number} was answered, for another picture, prompts or format: the session expects frame "
                f"{expected}",
                expected,
            )
        answers.append(answer[DIGEST_BYTES:])
    return answers


async def known_prompts(store: SessionStore, call: SessionCall, digest: bytes) -> bytes | None:
    """The answer to the latest prompts without a frame, if these are the same ones."""
    (found,) = await store.answers(call.tenant, call.session_id, [LAST_PROMPTS])
    return found[DIGEST_BYTES:] if found and found[:DIGEST_BYTES] == digest else None
