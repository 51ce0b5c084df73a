"""The models that the program lists: of each served model, one for phrases and examples and one for clicks. The program
shows the controls that a listed model names."""

from dataclasses import dataclass
from typing import Any

from serve_app.http.tools.asking import threshold_of
from serve_app.models import Registry, ServedModel

CONCEPTS, CLICKS = "segment_anything_3", "segment_anything_3_clicks"
NAME = "Segment Anything 3"


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of the list. clicks: it is for clicks and boxes."""

    title: str
    model: ServedModel
    clicks: bool

    def described(self) -> dict[str, Any]:
        """Its entry as the program reads it."""
        controls = _clicks() if self.clicks else _concepts(threshold_of(self.model))
        return {"display_name": self.title, **controls}


def listed(models: Registry) -> dict[str, Listed]:
    """The list by the ids that requests carry. The default comes first, under ids of its own."""
    found = {}
    for model in sorted(models.models, key=lambda one: one is not models.default):
        title, end = (NAME, "") if model is models.default else (model.name, f"@{model.name}")
        found[f"{CONCEPTS}{end}"] = Listed(f"{title}: phrases and examples", model, clicks=False)
        found[f"{CLICKS}{end}"] = Listed(f"{title}: clicks and boxes", model, clicks=True)
    return found


def _widgets(*names: str, **values: Any) -> list[dict[str, Any]]:
    return [{"name": name, "value": values.get(name)} for name in (*names, *values)]


def _concepts(threshold: float) -> dict[str, Any]:
    return {
        "batch_processing_mode": "text_prompt",
        "params": {"conf_threshold": threshold},
        "widgets": _widgets(
            "edit_text",
            "button_send",
            "add_pos_rect",
            "add_neg_rect",
            "button_run_rect",
            "button_clear",
            "button_finish_object",
            "input_conf",
            "mask_fineness_value_label",
            edit_conf=threshold,
            mask_fineness_slider=10,
            toggle_preserve_existing_annotations=False,
        ),
    }


def _clicks() -> dict[str, Any]:
    return {
        "batch_processing_mode": None,
        "params": {},
        "widgets": _widgets(
            "button_add_point",
            "button_remove_point",
            "button_add_rect",
            "button_clear",
            "button_finish_object",
            "mask_fineness_value_label",
            mask_fineness_slider=10,
        ),
    }
