from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.model_file import ModelEntry, read_models
from serve_app.settings import Settings

TWO = "base: {architecture: tiny, default: true}\ncars: {checkpoint: cars.pt, aliases: [acme/cars/3]}\n"


def test_models_are_read_from_yaml_json_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(TWO)
    as_json = (
        '{"base": {"architecture": "tiny", "default": true}, '
        '"cars": {"checkpoint": "cars.pt", "aliases": ["acme/cars/3"]}}'
    )
    found = read_models(TWO)
    assert found == {
        "base": ModelEntry(architecture="tiny", default=True),
        "cars": ModelEntry(checkpoint="cars.pt", aliases=("acme/cars/3",)),
    }
    assert read_models(str(file)) == read_models(file) == read_models(as_json) == read_models(found) == found
    assert list(found) == ["base", "cars"], "in the file's order"
    assert read_models("") == read_models("  ") == read_models("# nothing yet\n") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {replicas: -1}", "model 'a', replicas: at least 0 is expected"),
        ("a: {replicas: true}", "model 'a', replicas: a whole number is expected"),
        ("a: {replicas: '2'}", "model 'a', replicas: a whole number is expected"),
        ("a: {replicas: 1.5}", "model 'a', replicas: a whole number is expected"),
        ("a: {max_replicas: true}", "model 'a', max_replicas: a whole number is expected"),
        ("a: {sleep_after_s: .inf}", "model 'a', sleep_after_s: a finite number is expected"),
        ("a: {sleep_after_s: .nan}", "model 'a', sleep_after_s: a "),
        ("a: {sleep_after_s: true}", "model 'a', sleep_after_s: a number is expected"),
        ("a: {sleep_after_s: 0}", "model 'a', sleep_after_s: a number above 0 is expected"),
        ("a: {output_prob_thresh: .nan}", "model 'a', output_prob_thresh: a "),
        ("a: {default: 1}", "model 'a', default: true or false is expected"),
        ("a: {default: 'no'}", "model 'a', default: true or false is expected"),
        ("a: {checkpoint: 5}", "model 'a', checkpoint: a text is expected"),
        ("a: {checkpoint: [x.pt]}", "model 'a', checkpoint: a text is expected"),
        ("a: {aliases: x}", "model 'a', aliases: a list is expected"),
        ("a: {aliases: [x y]}", "model 'a', aliases.0: it is no name of a model"),
        ("a: {trunk: x y}", "model 'a', trunk: it is no name of a model"),
        ("a: {replica: 1}", "model 'a', replica: there is no such key, but checkpoint, base, architecture, "),
        ("a: {1: 1}", "model 'a', 1: there is no such key"),
        ("a: {architecture: yolo}", "model 'a', architecture: 'tiny', 'sam3' or 'tiny-random' is expected"),
        ("a: 1", "model 'a': its keys and values are expected"),
        ("a:\nb: {default: true}", "model 'a': its keys and values are expected"),
        ("a:\n  replicas: 1\n  <<: 3\n", "is not YAML: line 3: expected a mapping"),
        ("b: {}\na: {replicas: 1\nc: {}", "is not YAML: line 3: "),
        ("a: 2024-13-45", "is not YAML"),
        ("{a: " + "[" * 20_000, "is nested too deeply"),
        ("a: {<<: {replicas: 1}, replicas: 2, replicas: 3}", "'replicas' is there twice"),
        ("a/b/c/d: {}", "'a/b/c/d' is no name of a model"),
        ("a b: {}", "'a b' is no name of a model"),
        ("1: {}", "is no name of a model"),
        ("[a: 1]", "must map names to models"),
        ("{a", "is not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("a: {}\na: {}", "'a' is there twice"),
        ("a: {default: true}\nb: {aliases: [a]}", "the name 'a' is there twice"),
        ("a: {aliases: [x, x]}", "the name 'x' is there twice"),
        ("a: {default: true}\nb: {default: true}", "more than one model is the default"),
        ("a: {}\nb: {}", "no model is the default: mark one"),
        ("a: {replicas: 0}", "the default model has at least 1"),
        ("a: {default: true}\nb: {replicas: 0, pinned: true}", "model 'b', pinned"),
        ("a: {sleep_after_s: 5, pinned: true}", "model 'a', pinned"),
        ("a: {replicas: 3, max_replicas: 2}", "model 'a', max_replicas"),
        ("a: {default: true}\nb: {trunk: c}", "model 'b', trunk: there is no other model 'c'"),
        ("a: {trunk: a}", "model 'a', trunk: there is no other model 'a'"),
        ("a: {default: true}\nb: {trunk: a}\nc: {trunk: b}", "model 'c', trunk: 'b' shares that of 'a'"),
        (
            "a: {default: true}\nb: {trunk: a, architecture: tiny}",
            "model 'b', trunk: 'a' has another architecture",
        ),
        (
            "a: {default: true}\nb: {aliases: [sam3/sam3_final]}",
            "model 'b': 'sam3/sam3_final' is the default model's",
        ),
        ("a: {output_prob_thresh: 1.5}", "model 'a', output_prob_thresh: at most 1 is expected"),
        ("a: {sleep_after_s: .inf, pinned: true}", "model 'a'"),
    ],
)
def test_mistakes_are_named_with_the_model_and_the_key(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SAM3_MODELS") as raised:
        read_models(f"{text}\n")
    assert said in str(raised.value)
    file = tmp_path / "models.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=str(file)) as raised:
        read_models(str(file))
    assert said in str(raised.value)
    assert "Input" not in str(raised.value)


def test_merge_keys_are_taken_as_yaml_says() -> None:
    text = """
    a: {default: true, <<: &small {architecture: tiny, replicas: 2}}
    b: &b {<<: *small, replicas: 3}
    c: {<<: *b, replicas: 4}
    d: {<<: [*b, *small]}
    """
    found = read_models(text)
    assert [(one.architecture, one.replicas) for one in found.values()] == [
        ("tiny", 2),
        ("tiny", 3),
        ("tiny", 4),
        ("tiny", 3),
    ]


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "{}", "---\n"])
def test_a_file_without_a_model_is_no_server_with_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"models\.yaml has no model: add one, or leave SAM3_MODELS empty"):
        read_models(str(file))


@pytest.mark.parametrize("name", ["my: models.yaml", "my: models", "#models.yaml", "a:\tb.json"])
def test_a_path_with_a_colon_is_a_path(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(TWO)
    assert read_models(name) == read_models(TWO)
    assert read_models(str(tmp_path / name)) == read_models(TWO)
    with pytest.raises(ValueError, match=r"/no/my: models\.yaml cannot be read: No such file"):
        read_models("/no/my: models.yaml")


def test_the_home_folder_of_nobody_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"~no-such-user/x\.yaml cannot be read: No such file"):
        read_models("~no-such-user/x.yaml")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.yaml").write_text(TWO)
    assert read_models("~/x.yaml") == read_models(TWO)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"x\.yaml is not valid UTF-8"):
        read_models(tmp_path / "x.yaml")


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"/no/models\.yaml cannot be read"):
        read_models("/no/models.yaml")


def test_the_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3_MODELS", TWO)
    assert list(Settings().models) == ["base", "cars"]
    monkeypatch.setenv("SAM3_MODELS", "a: {replica: 1}")
    with pytest.raises(ValidationError, match="model 'a', replica"):
        Settings()
    monkeypatch.setenv("SAM3_MODELS", "")
    assert Settings().models == {}


@pytest.mark.parametrize("value", [5, [1], None])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="must map names to models"):
        read_models(value)
