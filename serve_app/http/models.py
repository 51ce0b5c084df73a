"""The model ids that this server accepts, and the note on its model."""

import re

from serve_app.http.errors import MalformedModelId, UnknownModel
from serve_app.settings import Settings

DEFAULT_MODEL_ID = "sam3/sam3_final"
"""The id of the hosted model, and of requests that name none: it stands for this server's first model."""
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9._-]{1,100}){0,2}")

SHAPES_ONLY = (
    "This server runs the small bundled model, which only knows coloured shapes: circles, squares, "
    "triangles and stars in red, green, blue, yellow, purple and orange. "
    "Start it with SAM3_MODEL=sam3 for Meta's SAM 3."
)


def check_model_id(model_id: str | None, settings: Settings) -> str:
    """The id of the answering model. Raises MalformedModelId, UnknownModel."""
    if model_id in (None, DEFAULT_MODEL_ID):
        return settings.model_ids[0]
    if not _MODEL_ID.fullmatch(model_id):
        raise MalformedModelId("model_id is malformed: it looks like 'sam3/sam3_final'")
    if model_id not in settings.model_ids:
        raise UnknownModel(
            f"this server does not serve {model_id!r}: it serves {', '.join(settings.model_ids)}"
        )
    return model_id


def note_on(settings: Settings) -> str | None:
    """A note for users on the limits of the server's model; None for `sam3`."""
    return SHAPES_ONLY if settings.model.startswith("tiny") else None
