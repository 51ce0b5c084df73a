"""The note on a server's model."""

from serve_app.model_file import Architecture

SHAPES_ONLY = (
    "This server runs the small bundled model, which only knows coloured shapes: circles, squares, "
    "triangles and stars in red, green, blue, yellow, purple and orange. "
    "Start it with SAM3_MODEL=sam3 for Meta's SAM 3."
)


def note_on(architecture: Architecture) -> str | None:
    """A note for users on the limits of a model; None for `sam3`."""
    return SHAPES_ONLY if architecture.startswith("tiny") else None
