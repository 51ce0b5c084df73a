"""Images as text."""

import base64
import textwrap
from urllib.parse import quote

import pytest

from sam3_engine.data_urls import decode_base64, is_data_url
from sam3_engine.errors import UnreadableImage

CONTENT = bytes(range(256)) * 5
TEXT = base64.b64encode(CONTENT).decode()


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"data:image/png;base64,{TEXT}",
        f"  DATA:image/svg+xml;charset=x;BASE64,{TEXT}",
        "\r\n".join(textwrap.wrap(TEXT, 64)),
        f"data:image/png;base64,\n{TEXT}\n",
        f"data:image/png;base64,{quote(TEXT, safe='')}",
        f"data:image/png;base64,{quote(textwrap.fill(TEXT, 64), safe='')}",
        f"data:image/png;base64,{TEXT.replace('+', '%2b').replace('/', '%2f').replace('=', '%3d')}",
        TEXT.rstrip("="),
        TEXT + "==",
    ],
)
def test_base64_in_its_forms(text: str) -> None:
    assert decode_base64(text) == CONTENT


@pytest.mark.parametrize(
    "text", ["%", "a", "YWJj!", "YW=Jj", "data:image/png,abc", "é", "\ud800", "data:x;base64,%"]
)
def test_malformed_base64_is_refused(text: str) -> None:
    with pytest.raises(UnreadableImage, match="base64"):
        decode_base64(text)


@pytest.mark.parametrize("text", ["", " \n", "=", "data:image/png;base64,"])
def test_empty(text: str) -> None:
    with pytest.raises(UnreadableImage, match="empty"):
        decode_base64(text)


def test_escapes_are_read_in_data_urls_alone() -> None:
    assert decode_base64("data:;base64,YQ%3D%3d") == b"a"
    for text in ("YQ%3D%3D", "data:;base64,%59Q"):
        with pytest.raises(UnreadableImage, match="not valid base64"):
            decode_base64(text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [("data:,", True), (" Data:image/png;base64,", True), ("data.png", False), ("", False)],
)
def test_data_urls_are_known_by_their_start(text: str, answer: bool) -> None:
    assert is_data_url(text) is answer
