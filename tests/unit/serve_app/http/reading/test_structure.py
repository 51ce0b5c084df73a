import base64

import pytest

from serve_app.http.errors import TooLarge
from serve_app.http.reading.structure import (
    MOST_NAMES,
    MOST_VALUES,
    MOST_VALUES_OF_STRANGERS,
    check_structure,
)

MIB = 1024 * 1024


def many(part: bytes, count: int) -> bytes:
    return b"[" + b",".join([part] * count) + b"]"


def names(count: int) -> bytes:
    return b"{" + b",".join(b'"k%d":1' % number for number in range(count)) + b"}"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"image":{"type":"base64","value":"' + base64.b64encode(bytes(range(256)) * 8 * 1024) + b'"}}',
        many(b'{"points":' + many(b'{"x":1,"y":2,"positive":true}', 256) + b"}", 256),
    ],
    ids=["nothing", "empty", "an image", "the most points"],
)
def test_documents_of_requests_pass(raw: bytes) -> None:
    check_structure(raw, MOST_VALUES)


@pytest.mark.parametrize("part", [b"{}", b"[]", b"0", b'""', b'{"a":[1,2]}'])
def test_many_values_are_refused(part: bytes) -> None:
    with pytest.raises(TooLarge, match="300000 values"):
        check_structure(many(part, MOST_VALUES + 1), MOST_VALUES)


def test_deep_documents_are_refused() -> None:
    with pytest.raises(TooLarge):
        check_structure(b"[" * (MOST_VALUES + 1), MOST_VALUES)


def test_a_client_without_a_key_may_send_fewer_and_is_told_what_to_do() -> None:
    raw = many(b"0", MOST_VALUES_OF_STRANGERS + 1)
    check_structure(raw, MOST_VALUES)
    with pytest.raises(TooLarge, match="key as a header"):
        check_structure(raw, MOST_VALUES_OF_STRANGERS)


def test_many_different_names_are_refused_and_few_are_not() -> None:
    check_structure(names(MOST_NAMES), MOST_VALUES)
    check_structure(many(b'{"x":1,"y":2}', 50_000), MOST_VALUES)
    with pytest.raises(TooLarge, match="names of fields"):
        check_structure(names(50_000), MOST_VALUES)


def test_names_are_not_hidden_by_escaped_quotes() -> None:
    raw = b"{" + b",".join(b'"%d\\"":1' % number for number in range(50_000)) + b"}"
    with pytest.raises(TooLarge, match="names of fields"):
        check_structure(raw, MOST_VALUES)
