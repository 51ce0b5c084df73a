import json

import pytest
from click.testing import CliRunner
from pydantic import ByteSize, SecretStr

from serve_app.cli.config import HIDDEN, shown
from serve_app.cli.main import main
from serve_app.settings import GROUPS, Settings, environment_name


def config(*arguments: str, **environment: str | None) -> str:
    done = CliRunner().invoke(main, ["config", *arguments], env=environment)
    assert done.exit_code == 0, done.output
    return done.output


def test_every_setting_is_listed_under_its_group() -> None:
    output = config()
    assert [line for line in output.splitlines() if line in GROUPS] == list(GROUPS)
    for name in Settings.model_fields:
        assert f"  {environment_name(name)} " in output.replace("\n", " \n")


def test_each_value_is_shown_with_its_source() -> None:
    rows = {row["variable"]: row for row in json.loads(config("--json", "--port", "9100", SAM3_MODEL="sam3"))}
    assert rows["SAM3_PORT"] == {"variable": "SAM3_PORT", "value": "9100", "source": "--port"}
    assert rows["SAM3_MODEL"] == {"variable": "SAM3_MODEL", "value": "sam3", "source": "SAM3_MODEL"}
    assert rows["SAM3_HOST"]["source"] == "default"


def test_an_option_wins_over_the_environment() -> None:
    assert "9100" in config("--port", "9100", SAM3_PORT="9200")
    assert "9200" not in config("--port", "9100", SAM3_PORT="9200")


@pytest.mark.parametrize("command", [["config"], ["up"], ["top"]])
def test_a_mistyped_variable_is_an_error_that_names_the_right_one(command: list[str]) -> None:
    done = CliRunner().invoke(main, command, env={"SAM3_MODLE": "sam3"})
    assert done.exit_code == 2
    assert "SAM3_MODLE is not a setting. Did you mean SAM3_MODEL?" in done.output


def test_a_variable_like_no_setting_is_a_note() -> None:
    assert "note: SAM3_FAVOURITE_COLOUR is not a setting" in config(SAM3_FAVOURITE_COLOUR="red")
    assert "note" not in config(SAM3_API_KEY="secret")


def test_a_wrong_value_is_named_by_what_set_it() -> None:
    done = CliRunner().invoke(main, ["config", "--port", "99999"], env={"SAM3_TRACE_RATIO": "nan"})
    assert "--port: Input should be less than" in done.output
    assert "SAM3_TRACE_RATIO: Input should be a finite number" in done.output


def test_secrets_are_hidden() -> None:
    output = config(HF_TOKEN="hf_secret")
    assert "hf_secret" not in output
    assert f"set {HIDDEN}" in output
    assert "not set" in config(HF_TOKEN=None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ((), ""),
        (("a", "b"), "a,b"),
        (True, "true"),
        (ByteSize(64 * 2**20), "64MiB"),
        (SecretStr("x"), HIDDEN),
        (SecretStr(""), ""),
        (1.5, "1.5"),
    ],
)
def test_values_are_shown_as_the_environment_takes_them(value: object, text: str) -> None:
    assert shown(value) == text


def test_shown_values_are_valid_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(cors_origins="a,b", max_body_bytes="10MiB", hot_bytes="2GiB", compile=True)
    for name in Settings.model_fields:
        if text := shown(getattr(settings, name)):
            monkeypatch.setenv(environment_name(name), text)
    assert Settings() == settings


@pytest.mark.parametrize("command", ["up", "segment", "config", "keys"])
def test_every_command_explains_itself(command: str) -> None:
    output = CliRunner().invoke(main, [command, "--help"]).output
    assert len(output.splitlines()) > 6
    assert command in CliRunner().invoke(main, ["--help"]).output
