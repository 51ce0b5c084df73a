"""The models: one for phrases and examples, one for clicks. The program shows the controls that a model names."""

from typing import Any

CONCEPTS, CLICKS = "segment_anything_3", "segment_anything_3_clicks"
DEFAULT_THRESHOLD = 0.5


def _widgets(*names: str, **values: Any) -> list[dict[str, Any]]:
    return [{"name": name, "value": values.get(name)} for name in (*names, *values)]


MODELS: dict[str, dict[str, Any]] = {
    CONCEPTS: {
        "display_name": "Segment Anything 3: phrases and examples",
        "batch_processing_mode": "text_prompt",
        "params": {"conf_threshold": DEFAULT_THRESHOLD},
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
            edit_conf=DEFAULT_THRESHOLD,
            mask_fineness_slider=10,
            toggle_preserve_existing_annotations=False,
        ),
    },
    CLICKS: {
        "display_name": "Segment Anything 3: clicks and boxes",
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
    },
}
