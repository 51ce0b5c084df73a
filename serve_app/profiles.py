"""Named sets of defaults, for `SAM3_PROFILE` and `sam3-serve up --profile`. Explicit settings take precedence."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

Profile = Literal["", "laptop", "serverless", "always-hot", "gpu-node"]

PROFILES: Mapping[str, Mapping[str, Any]] = {
    # One process of each kind and little memory: the machine is used for other work too.
    "laptop": {
        "object_store_bytes": "1GiB",
        "hot_bytes": "256MiB",
        "cold_bytes": "128MiB",
        "max_in_flight": 64,
    },
    # Replicas follow the load; after a quarter of an hour without requests there are none.
    "serverless": {
        "encoder_max_replicas": 4,
        "decoder_max_replicas": 8,
        "scale_down_after_s": 30,
        "scale_down_step_s": 10,
        "scale_to_zero_after_s": 900,
    },
    # Two of each, so that a failure or an update costs no warm-up; more under load, stopped slowly.
    "always-hot": {
        "ingress_replicas": 2,
        "encoder_replicas": 2,
        "decoder_replicas": 2,
        "encoder_max_replicas": 4,
        "decoder_max_replicas": 8,
        "scale_down_after_s": 600,
        "scale_down_step_s": 60,
    },
    # A machine for nothing else, with one GPU or several: the GPU runs the model, the cores read images.
    "gpu-node": {
        "device": "cuda",
        "compile": True,
        "ingress_replicas": 4,
        "encoder_batch_size": 16,
        "encoder_max_ongoing": 64,
        "decoder_replicas": 2,
        "cold_bytes": "8GiB",
        "max_in_flight": 256,
    },
}


class ProfileSource(PydanticBaseSettingsSource):
    """Settings source with the values of the profile that the earlier sources chose. It must come last."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)

    def get_field_value(self, _field: Any, field_name: str) -> tuple[Any, str, bool]:
        """One field's value, its name, and that it needs no decoding."""
        return self._values().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values of the profile."""
        return dict(self._values())

    def _values(self) -> Mapping[str, Any]:
        # An unknown profile has no values: the field `profile` refuses its name.
        return PROFILES.get(str(self.current_state.get("profile", "")), {})
