import pytest
from hypothesis import given
from hypothesis import strategies as some

from deployments.workflows.frames import (
    LENGTH,
    MOST_BYTES,
    BrokenFrame,
    Unpackable,
    body_length,
    pack,
    unpack,
)


def body(message: bytes) -> bytes:
    length = body_length(message[: LENGTH.size])
    assert length == len(message) - LENGTH.size
    return message[LENGTH.size :]


@given(
    some.dictionaries(some.text(), some.integers(-(2**53), 2**53) | some.text()), some.lists(some.binary())
)
def test_a_message_arrives_as_it_was(header: dict[str, object], parts: list[bytes]) -> None:
    assert unpack(body(pack(header, parts))) == (header, parts)


@given(some.binary())
def test_anything_else_is_broken(data: bytes) -> None:
    with pytest.raises(BrokenFrame):
        unpack(data)


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_message_that_was_cut_is_broken(cut: int) -> None:
    with pytest.raises(BrokenFrame):
        unpack(body(pack({"kind": "call"}, [b"0123456789"]))[:-cut])


def test_long_messages_are_not_read() -> None:
    with pytest.raises(BrokenFrame):
        body_length(LENGTH.pack(MOST_BYTES + 1))


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, {"deep": [10**40]}, "\ud800", object()])
def test_values_that_no_message_can_hold_are_said_to_be(value: object) -> None:
    with pytest.raises(Unpackable, match="64 bits"):
        pack({"kind": "job", "value": value})
