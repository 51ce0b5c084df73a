"""The columns of a run's tables, step by step: to read, decoded, found, labelled.

A step keeps the columns that the next one needs. `error` is the reason why an image has no labels, else null; then the
other columns are null too.
"""

import pyarrow as pa

TO_READ = pa.schema([("location", pa.string()), ("name", pa.string())])

IMAGE = [
    pa.field("location", pa.string()),
    pa.field("name", pa.string()),
    pa.field("error", pa.string()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("digest", pa.string()),  # of the file's bytes
    pa.field("look", pa.uint64()),  # alike for images that look alike, see `reading.look`
]

DECODED = pa.schema([*IMAGE, pa.field("square", pa.large_binary())])
"""square: uint8 [S, S, 3] RGB, the model's input."""

CANDIDATE = pa.struct(
    [
        ("prompt", pa.int32()),  # index into the run's prompts
        ("score", pa.float32()),
        ("cells", pa.int32()),  # side of the whole map of logits
        ("top", pa.int32()),
        ("left", pa.int32()),
        ("columns", pa.int32()),
        ("logits", pa.binary()),  # float32 [rows, columns], the part of the map around the object
    ]
)
MODEL = [
    pa.field("model", pa.string()),  # the name of the embeddings, and so of the weights
    pa.field("model_s", pa.float32()),  # seconds that the model worked for the image; null for a service's
]
FOUND = pa.schema([*IMAGE, pa.field("candidates", pa.list_(CANDIDATE)), *MODEL])

OBJECT = pa.struct(
    [
        ("class", pa.string()),
        ("score", pa.float32()),
        ("box", pa.list_(pa.float32(), 4)),  # x0, y0, x1, y1 in pixels, x1 and y1 exclusive
        ("area", pa.int64()),  # pixels
        ("rle", pa.string()),  # COCO's compressed counts; the size is the image's
    ]
)
LABELLED = pa.schema([*IMAGE, pa.field("objects", pa.list_(OBJECT)), *MODEL])
"""The parts of a data set: one row an image, its objects highest score first."""
NEEDED = ["location", "name", "width", "height", "look", "objects"]
"""The columns of LABELLED that a row without an error fills."""
