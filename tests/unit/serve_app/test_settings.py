import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.settings import (
    GROUPS,
    Settings,
    environment_name,
    set_in_environment,
    unknown_variables,
)


def test_every_field_has_a_text_and_a_group() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict), name
        assert field.json_schema_extra["group"] in GROUPS, name


def test_defaults_suit_a_laptop() -> None:
    settings = Settings()
    assert (settings.model, settings.host, settings.port) == ("tiny", "127.0.0.1", 9001)
    assert settings.url_https_only
    assert not settings.url_allow_private


def test_the_environment_sets_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3_PORT", "9100")
    monkeypatch.setenv("SAM3_CORS_ORIGINS", "https://a.example, https://b.example")
    monkeypatch.setenv("SAM3_MAX_BODY_BYTES", "10MiB")
    monkeypatch.setenv("SAM3_ENCODER_THREADS", "3")
    monkeypatch.setenv("SAM3_CHECKPOINT", "")
    settings = Settings()
    assert settings.port == 9100
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.max_body_bytes == 10 * 2**20
    assert settings.encoder_threads == 3
    assert settings.checkpoint is None
    assert set_in_environment("port")
    assert not set_in_environment("host")
    assert environment_name("max_body_bytes") == "SAM3_MAX_BODY_BYTES"


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 0},
        {"port": 70_000},
        {"device": "tpu"},
        {"model": "sam2"},
        {"encoder_threads": 0},
        {"encoder_num_gpus": -1},
        {"max_body_bytes": 0},
        {"warm_bytes": "lots"},
        {"no_such_setting": 1},
    ],
)
def test_wrong_values_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Settings(**wrong)


NUMBERS = [
    name
    for name, field in Settings.model_fields.items()
    if any(kind in str(field.annotation) for kind in ("int", "float", "ByteSize"))
]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
@pytest.mark.parametrize("name", NUMBERS)
def test_no_setting_takes_infinity_or_nan(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment_name(name), value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_a_mistyped_variable_is_told_with_the_nearest_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unknown_variables() == {}
    for name in (
        "SAM3_MODLE",
        "sam3_prot",
        "SAM3_ENCODER_REPLICA",
        "SAM3_COLOUR",
        "SAM3_OTHER",
        "SAM3_MODEL",
    ):
        monkeypatch.setenv(name, "x")
    assert unknown_variables(["SAM3_OTHER"]) == {
        "SAM3_MODLE": "SAM3_MODEL",
        "sam3_prot": "SAM3_PORT",
        "SAM3_ENCODER_REPLICA": "SAM3_ENCODER_REPLICAS",
        "SAM3_COLOUR": None,
    }


def test_replicas_get_the_same_settings() -> None:
    settings = Settings(port=9100, hot_bytes="1GiB")
    assert pickle.loads(pickle.dumps(settings)) == settings
