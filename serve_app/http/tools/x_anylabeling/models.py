"""The models that the program lists: of each served model, one for phrases and examples and one for clicks; of the
default also one for videos, where it follows them. The program shows the controls that a listed model names."""

from dataclasses import dataclass
from typing import Any, Literal

from serve_app.http.tools.asking import threshold_of
from serve_app.models import Registry, ServedModel

CONCEPTS, CLICKS, VIDEO = "segment_anything_3", "segment_anything_3_clicks", "segment_anything_3_video"
NAME = "Segment Anything 3"


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of the list, and what it is for."""

    title: str
    model: ServedModel
    use: Literal["concepts", "clicks", "video"]

    def described(self) -> dict[str, Any]:
        """Its entry as the program reads it."""
        match self.use:
            case "concepts":
                controls = _concepts(threshold_of(self.model))
            case "clicks":
                controls = _clicks()
            case "video":
                controls = _video(threshold_of(self.model))
        return {"display_name": self.title, **controls}


def listed(models: Registry, *, video: bool) -> dict[str, Listed]:
    """The list by the ids that requests carry. The default comes first, under ids of its own. video: it follows
    videos."""
    found = {}
    for model in sorted(models.models, key=lambda one: one is not models.default):
        title, end = (NAME, "") if model is models.default else (model.name, f"@{model.name}")
        found[f"{CONCEPTS}{end}"] = Listed(f"{title}: phrases and examples", model, "concepts")
        found[f"{CLICKS}{end}"] = Listed(f"{title}: clicks and boxes", model, "clicks")
    if video:
        found[VIDEO] = Listed(f"{NAME}: videos", models.default, "video")
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


def _video(threshold: float) -> dict[str, Any]:
    return {
        "batch_processing_mode": "video",
        "params": {"conf_threshold": threshold},
        "widgets": _widgets(
            "edit_text",
            "button_send",
            "button_add_point",
            "button_remove_point",
            "button_clear",
            "button_finish_object",
            "input_conf",
            "mask_fineness_value_label",
            edit_conf=threshold,
            mask_fineness_slider=10,
            toggle_preserve_existing_annotations=False,
        ),
    }
