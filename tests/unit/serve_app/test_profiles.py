from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.cli.config import rows
from serve_app.profiles import PROFILES
from serve_app.replica_numbers import rules
from serve_app.settings import Settings


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_sets_what_it_says(name: Any) -> None:
    settings = Settings(profile=name)
    plain = Settings()
    for field in PROFILES[name]:
        assert getattr(settings, field) != getattr(plain, field), "it differs from the default"
    for field in Settings.model_fields.keys() - PROFILES[name].keys() - {"profile"}:
        assert getattr(settings, field) == getattr(plain, field)
    assert rules(settings, "encoder").hot >= 1
    assert rules(settings, "decoder").most >= rules(settings, "decoder").hot


def test_the_environment_chooses_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3_PROFILE", "always-hot")
    assert Settings().decoder_replicas == 2
    assert Settings(profile="").decoder_replicas == 1, "an option has precedence"


def test_explicit_settings_win_over_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3_ENCODER_MAX_REPLICAS", "3")
    settings = Settings(profile="serverless", scale_to_zero_after_s=5)
    assert (settings.encoder_max_replicas, settings.decoder_max_replicas) == (3, 8)
    assert settings.scale_to_zero_after_s == 5


def test_an_unknown_profile_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="'laptop', 'serverless', 'always-hot' or 'gpu-node'"):
        Settings(profile="desktop")


def test_values_of_the_profile_are_marked_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3_ENCODER_MAX_REPLICAS", "3")
    sources = {row.name: row.source for row in rows(Settings(profile="serverless"), ["profile"])}
    assert sources["profile"] == "--profile"
    assert sources["decoder_max_replicas"] == "profile serverless"
    assert sources["encoder_max_replicas"] == "SAM3_ENCODER_MAX_REPLICAS"
    assert sources["port"] == "default"
