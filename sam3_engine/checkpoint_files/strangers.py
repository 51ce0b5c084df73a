"""Files that are no checkpoint of SAM 3, told apart by their first bytes, their size or the names in them."""

import json
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

SHOWN = 4
"""Names listed in an error."""
MOST_HEADER = 100 * 2**20
"""Bytes that the header of a safetensors file may have; the format's own limit."""

BROKEN_HEADER = "a safetensors file whose header is broken"

HEADS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file: run `git lfs pull`"),
    (b"<", "a web page, not the file: perhaps the download needed a login"),
    (
        b"GGUF",
        "a GGUF file, which llama.cpp reads; no checkpoint of SAM 3 in PyTorch's or safetensors' format",
    ),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive: unpack it first"),
    (b"%PDF", "a PDF document, not the file"),
    (b"Entry not found", "an answer of the Hub, not the file: it has none of that name"),
    (b"Access to model", "an answer of the Hub, not the file: the download needs a login"),
    (b"Invalid username or password", "an answer of the Hub, not the file: the download needs a login"),
    (b'{"error"', "an error of a server, not the file"),
    (b"\x89HDF", "an HDF5 file, which Keras writes; no checkpoint in PyTorch's or safetensors' format"),
)

MODELS = (
    (("image_encoder.trunk.", "sam_mask_decoder."), "a checkpoint of SAM 2, not of SAM 3"),
    (("image_encoder.trunk.", "memory_attention."), "a checkpoint of SAM 2, not of SAM 3"),
    (("image_encoder.", "prompt_encoder.", "mask_decoder."), "a checkpoint of SAM 1, not of SAM 3"),
    (
        ("vision_encoder.", "prompt_encoder.", "mask_decoder."),
        "a SAM model of transformers that knows clicks only",
    ),
    (("model.0.", "model.1.", "model.2."), "a checkpoint of YOLO, not of SAM 3"),
    (
        ("transformer.encoder.layers.", "transformer.decoder.layers.", "class_embed.", "bbox_embed."),
        "a checkpoint of DETR, not of SAM 3",
    ),
    (("visual.", "transformer.resblocks.", "token_embedding."), "a checkpoint of CLIP, not of SAM 3"),
)
"""Beginnings of names that another model's file has, all of them, and what that file is."""


def by_bytes(path: Path) -> str | None:
    """The kind of file that its first bytes tell, as the end of a sentence ("an empty file").

    None where the file may be a checkpoint. Raises OSError.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    if looks_like_safetensors(head):
        return _unfinished_safetensors(path, head)
    for start, name in HEADS:
        if head.lstrip().startswith(start):
            return name
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if head.startswith(b"\x08") and (b"pytorch" in head or b"onnx" in head):
        return "an ONNX file; no checkpoint in PyTorch's or safetensors' format"
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    return BROKEN_HEADER if path.suffix == ".safetensors" and not head.startswith(b"\x80") else None


def _zip(path: Path) -> str | None:
    if not zipfile.is_zipfile(path):
        return f"only a part of a download: its end is missing after {path.stat().st_size:,} bytes"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any("/code/" in name for name in names):
        return "a TorchScript program; save the model's state_dict instead"
    if not any(name.endswith("data.pkl") for name in names):
        return f"a zip archive of other files: {some(names)}"
    return None


def _unfinished_safetensors(path: Path, head: bytes) -> str | None:
    length = int.from_bytes(head[:8], "little")
    size = path.stat().st_size
    end = 8 + length
    if size >= end:
        with path.open("rb") as file:
            file.seek(8)
            try:
                entries = json.loads(file.read(length))
                tensors = [entry for name, entry in entries.items() if name != "__metadata__"]
                ends = [entry["data_offsets"][1] for entry in tensors]
            except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
                return BROKEN_HEADER
            if not all(type(each) is int for each in ends):
                return BROKEN_HEADER
            end += max(ends, default=0)
    return f"only a part of a download: {size:,} of at least {end:,} bytes" if size < end else None


def looks_like_safetensors(head: bytes) -> bool:
    """Recognise safetensors by a file's first bytes (9 at least): a length, then a JSON object."""
    return 2 <= int.from_bytes(head[:8], "little") <= MOST_HEADER and head[8:9] == b"{"


def by_names(names: Collection[str]) -> str | None:
    """The other model whose tensors have these names, as the end of a sentence; None for an unknown one."""
    for bare in _peeled(names):
        for starts, what in MODELS:
            if all(any(name.startswith(start) for name in bare) for start in starts):
                return what
    return None


def _peeled(names: Collection[str]) -> Iterator[Collection[str]]:
    """The names, and again without one after the other of the prefixes that all of them have."""
    while names:
        yield names
        first = {name.partition(".")[0] for name in names}
        if len(first) != 1 or not all("." in name for name in names):
            return
        names = [name.partition(".")[2] for name in names]


def some(names: Collection[str], most: int = SHOWN) -> str:
    """The first few names, for people."""
    return ", ".join(map(shown, list(names)[:most])) + (", ..." if len(names) > most else "")


def shown(name: str) -> str:
    """A name of somebody else's file without characters that would steer a terminal, or that none can print."""
    return name if name.isprintable() else ascii(name)[1:-1]
