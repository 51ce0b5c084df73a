"""Reads a request's body: a JSON object, or multipart/form-data with `image` parts and a `request` part."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from serve_app.http.errors import InvalidRequest
from serve_app.http.reading.structure import check_structure

PARSED_IN_LINE_BYTES = 256 * 1024
"""JSON of more bytes than this is parsed in a thread."""
Shorten = Callable[[bytes], bytes]
UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Body:
    """A request's body. `files`: the `image` parts (or `video`) of a multipart request, None for JSON."""

    document: dict[str, Any]
    files: list[bytes] | None = None


class _PartsInMemory(MultiPartParser):
    """Keeps every part in memory: the body's size is limited already, and a temporary file would be slower."""

    spool_max_size = 1 << 40
    max_file_size = spool_max_size  # its name in earlier versions
    complete = False
    """True once the last boundary has come."""

    def on_end(self) -> None:
        """Called by the parser at the last boundary."""
        self.complete = True

    def close(self) -> None:
        """Close the files of parts that have not ended, which no form holds."""
        for file in self._files_to_close_on_error:
            file.close()


async def read_body(
    kind: str,
    chunks: AsyncGenerator[bytes],
    max_images: int,
    max_values: int,
    shorten: Shorten | None = None,
    part: str = "image",
) -> Body:
    """Read and parse a request's body. kind: its Content-Type. max_values: of one JSON document, see `structure`.
    shorten: removes parts of the JSON that its route does not read. part: the name of files in a multipart body.

    Raises InvalidRequest, TooLarge for more values, and the errors of `chunks`.
    """
    media_type = kind.partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return await _read_multipart(kind, chunks, max_images, max_values, part)
    # A page of another site can make a browser send text, a form, or bytes of no type without CORS's permission, but
    # not JSON.
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise InvalidRequest.one(
            "send application/json or multipart/form-data, and say so in Content-Type", kind="content_type"
        )
    # Not request.body(), which would keep the bytes as long as the request.
    return Body(await parse_object(b"".join([chunk async for chunk in chunks]), max_values, shorten))


async def parse_object(raw: bytes, max_values: int, shorten: Shorten | None = None) -> dict[str, Any]:
    """A JSON object, without NaN, infinities, lone surrogates or deep nesting. Raises InvalidRequest, TooLarge."""
    if len(raw) > PARSED_IN_LINE_BYTES:
        document = await asyncio.to_thread(_parse, raw, max_values, shorten)
    else:
        document = _parse(raw, max_values, shorten)
    if not isinstance(document, dict):
        raise InvalidRequest.one("Input should be a valid dictionary", kind="dict_type")
    return document


def _parse(raw: bytes, max_values: int, shorten: Shorten | None) -> Any:
    raw = shorten(raw) if shorten else raw
    check_structure(raw, max_values)
    try:
        return from_json(raw.removeprefix(UTF8_MARK), allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        if not raw.strip():
            raise InvalidRequest.one("the body is empty: send a JSON object", kind="json_invalid") from None
        if "EOF while parsing" in str(error):
            raise InvalidRequest.one(
                f"JSON decode error: the upload was cut, or its JSON has no end: {error}", kind="json_invalid"
            ) from None
        if "hex escape" in str(error) or "unicode code point" in str(error):
            raise InvalidRequest.one(
                f"the JSON is not valid UTF-8, or an escape in it is half of a surrogate pair: {error}",
                kind="json_invalid",
            ) from None
        # The error's message names a position, never the content.
        raise InvalidRequest.one(f"JSON decode error: {error}", kind="json_invalid") from None


async def _read_multipart(
    kind: str, chunks: AsyncGenerator[bytes], max_images: int, max_values: int, part: str
) -> Body:
    parser = _PartsInMemory(
        # Parts without a filename are decoded as text: by latin-1, which keeps every byte.
        Headers({"content-type": kind + "; charset=latin-1"}),
        chunks,
        max_files=max_images + 2,  # so that one image too many gets the error message of `check_count`
        max_fields=max_images + 16,
        max_part_size=1 << 40,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: no boundary
        reason = error.message if isinstance(error, MultiPartException) else "it has no boundary"
        raise InvalidRequest.one(f"malformed multipart body: {reason}", kind="multipart_invalid") from None
    try:
        if not parser.complete:
            parser.close()
            raise InvalidRequest.one(
                "the multipart body ends before its last boundary: the upload was cut",
                kind="multipart_invalid",
            )
        _check_names(form, part)
        files = [await _bytes(file) for file in form.getlist(part)]
        document = await _document(form, max_values)
    finally:
        await form.close()
    if files and document.get(part) is not None:
        raise InvalidRequest.one(f"the {part} is given twice: as a part and in the request", part)
    return Body(document, files)


def _check_names(form: FormData, part: str) -> None:
    """Raises InvalidRequest for parts that would have no effect."""
    for name in dict.fromkeys(form.keys()):
        if name not in (part, "request"):
            raise InvalidRequest.one(
                f"there is no part of this name: send the files as parts `{part}`, and the JSON of all other fields "
                "as one part `request`",
                name[:80],
                kind="unknown_part",
            )
    if len(form.getlist("request")) > 1:
        raise InvalidRequest.one("there are several parts of this name: send one", "request")


async def _bytes(part: UploadFile | str) -> bytes:
    return part.encode("latin-1") if isinstance(part, str) else await part.read()


async def _document(form: FormData, max_values: int) -> dict[str, Any]:
    part = form.get("request")
    return {} if part is None else await parse_object(await _bytes(part), max_values)
