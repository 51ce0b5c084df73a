import itertools
from collections.abc import Callable

import pytest

from deployments.pool.states import STEPS, Entry, InvalidTransition, State
from sam3_engine.types import ImageSize

TAKE: dict[str, Callable[[Entry], None]] = {
    "encode again": lambda entry: entry.encode_again(2),
    "ready": lambda entry: entry.ready("ref", 10),
    "failed": lambda entry: entry.failed(),
    "evict": lambda entry: entry.evict(),
    "lose": lambda entry: entry.lose(),
}
ALLOWED = {
    ("encode again", State.EVICTED): State.ENCODING,
    ("encode again", State.LOST): State.ENCODING,
    ("ready", State.ENCODING): State.READY,
    ("failed", State.ENCODING): State.EVICTED,
    ("evict", State.READY): State.EVICTED,
    ("lose", State.READY): State.LOST,
}


def entry_in(state: State) -> Entry:
    entry = Entry(ImageSize(4, 5), generation=1)
    if state is not State.ENCODING:
        entry.ready("ref", 10)
    if state is State.EVICTED:
        entry.evict()
    if state is State.LOST:
        entry.lose()
    return entry


@pytest.mark.parametrize(("step", "state"), list(itertools.product(STEPS, State)))
def test_each_step_from_each_state(step: str, state: State) -> None:
    entry = entry_in(state)
    after = ALLOWED.get((step, state))
    if after is not None:
        TAKE[step](entry)
        assert entry.state is after
    else:
        with pytest.raises(InvalidTransition, match=state.value):
            TAKE[step](entry)
        assert entry.state is state


@pytest.mark.parametrize("state", State)
def test_only_ready_holds_a_reference_and_bytes(state: State) -> None:
    entry = entry_in(state)
    assert (entry.reference is not None) == (state is State.READY)
    assert (entry.nbytes > 0) == (state is State.READY)


def test_encoding_again_is_a_new_generation() -> None:
    entry = entry_in(State.LOST)
    entry.encode_again(7)
    assert entry.generation == 7
