import pickle

import pytest

from serve_app.model_file import read_models
from serve_app.models import ContradictorySettings, MalformedModelId, Registry, UnknownModel
from serve_app.settings import Settings


def registry(text: str, **settings: object) -> Registry:
    return Registry.of(Settings.model_validate({"models": read_models(text), **settings}))


def test_one_model_has_the_names_of_the_settings() -> None:
    alone = Registry.of(Settings(model_ids=("mine/1", "other"), checkpoint="w.pt", model="sam3"))
    (model,) = alone.models
    assert (
        alone.find(None)
        is alone.find("mine/1")
        is alone.find("other")
        is alone.find("sam3/sam3_final")
        is model
    )
    assert (model.name, model.checkpoint, model.architecture) == ("mine/1", "w.pt", "sam3")


def test_a_request_chooses_by_name_or_alias_and_the_default_keeps_the_hosted_name() -> None:
    found = registry("a: {aliases: [w/p/3]}\nb: {default: true}\n")
    assert [model.name for model in found.models] == ["a", "b"]
    assert found.find("w/p/3").name == "a"
    assert found.find(None) is found.find("sam3/sam3_final") is found.find("b") is found.default


def test_unknown_models_are_told_with_the_list_of_those_there_are() -> None:
    with pytest.raises(UnknownModel, match="does not serve 'c': it serves a, x, sam3/sam3_final, b"):
        registry("a: {aliases: [x], default: true}\nb: {}\n").find("c")
    with pytest.raises(MalformedModelId):
        registry("a: {default: true}\nb: {}\n").find("a b")


def test_a_model_sleeps_after_its_own_time_or_the_servers() -> None:
    text = "a: {default: true}\nb: {replicas: 0}\nc: {sleep_after_s: 7}\nd: {pinned: true}\n"
    assert [one.sleep_after_s for one in registry(text).models] == [0, 300, 7, 0]
    assert [one.sleep_after_s for one in registry(text, scale_to_zero_after_s=60).models] == [60, 60, 7, 0]


def test_the_model_of_the_other_settings_is_found_among_several() -> None:
    """Its deployments keep their names."""
    text = "a: {checkpoint: a.pt}\nb: {checkpoint: b.pt, base: c.pt, default: true}\n"
    assert registry(text).alone is None
    assert registry(text, model="sam3", checkpoint="a.pt").alone == "a"
    assert registry(text, model="sam3", checkpoint="b.pt", base_checkpoint="c.pt").alone == "b"
    assert registry("a: {architecture: tiny}\n").alone == "a"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"checkpoint": "w.pt"}, "no model with the weights of SAM3_CHECKPOINT"),
        ({"base_checkpoint": "w.pt"}, "no model with the weights of SAM3_CHECKPOINT"),
        ({"model_ids": ("mine",)}, "write `aliases`"),
    ],
)
def test_settings_of_one_model_may_not_contradict_several(other: dict[str, object], said: str) -> None:
    with pytest.raises(ContradictorySettings, match=said):
        registry("a: {}\n", **other)


def test_it_travels_to_another_process() -> None:
    found = registry("a: {default: true}\nb: {}\n")
    assert found.find("b").name == "b"  # with its index made
    assert pickle.loads(pickle.dumps(found)).find("b") == found.find("b")
