from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sam3_engine.encoder_digests import encoder_digests
from serve_app.encoder_groups import EncoderGroup, WrongTrunk, encoder_groups, readable_digests
from serve_app.model_file import read_models
from serve_app.models import Registry, ServedModel
from serve_app.settings import Settings
from training.siblings import OF_A_HEAD, model_of_another_trunk, model_of_one_trunk


def served(text: str) -> tuple[ServedModel, ...]:
    first, _, others = text.partition("{")
    comma = "" if others.startswith("}") else ", "
    return Registry.of(Settings(models=read_models(f"{first}{{default: true{comma}{others}"))).models


def grouped(text: str, **digests: str) -> list[list[str]]:
    return [[one.name for one in group.members] for group in groups(text, **digests)]


def groups(text: str, **digests: str) -> list[EncoderGroup]:
    return encoder_groups(served(text), lambda models: {one.name: digests.get(one.name) for one in models})


def test_models_with_equal_digests_share_an_encoder() -> None:
    text = "a: {checkpoint: a}\nb: {checkpoint: b}\nc: {checkpoint: c}\n"
    assert grouped(text, a="1", b="2", c="1") == [["a", "c"], ["b"]]
    assert [group.digest for group in groups(text, a="1", b="2", c="1")] == ["1", "2"]


def test_models_that_cannot_be_read_have_their_own_unless_the_file_says_otherwise() -> None:
    text = "a: {checkpoint: a}\nb: {checkpoint: b}\nc: {checkpoint: c, trunk: a}\n"
    assert grouped(text) == [["a", "c"], ["b"]]
    first = groups(text)[0]
    assert [first.claims(one) for one in first.members] == [False, True]
    assert grouped(text, c="1") == [["a", "c"], ["b"]], "what is known of one only, says nothing"


def test_equal_weights_share_without_being_read() -> None:
    assert grouped("a: {checkpoint: hf://x/y}\nb: {checkpoint: hf://x/y}\n") == [["a", "b"]]


def test_the_encoders_load_no_weights_that_only_claim_to_encode_alike() -> None:
    first = groups("c: {checkpoint: c, trunk: a}\na: {checkpoint: a}\n")[0]
    assert first.leader.name == "a"


def test_a_false_claim_is_refused_where_the_files_can_be_read() -> None:
    with pytest.raises(WrongTrunk, match="model 'b', trunk: 'a' has another image encoder"):
        groups("a: {checkpoint: a}\nb: {checkpoint: b, trunk: a}\n", a="1", b="2")


def test_equal_encoders_of_two_architectures_are_two() -> None:
    assert grouped("a: {}\nb: {architecture: tiny}\n", a="1", b="1") == [["a"], ["b"]]


def test_one_model_is_not_read() -> None:
    def refuse(models: Sequence[ServedModel]) -> dict[str, str | None]:
        raise AssertionError

    (group,) = encoder_groups(served("a: {}\n"), refuse)
    assert group.digest is None
    assert not group.claims(group.leader)


def test_weights_on_this_machine_are_read_and_those_elsewhere_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    head = model_of_one_trunk(tmp_path / "head.safetensors")
    trunk = model_of_another_trunk(tmp_path / "trunk.safetensors")
    torch.save({"model": {OF_A_HEAD: load_file(head)[OF_A_HEAD]}}, tmp_path / "part.pt")
    (tmp_path / "w.pt").write_bytes(b"no weights")
    broken = f"broken: {{architecture: tiny, checkpoint: {tmp_path}/w.pt}}"
    text = "\n".join(
        [
            "base: {architecture: tiny}",
            f"head: {{architecture: tiny, checkpoint: {head}}}",
            f"trunk: {{architecture: tiny, checkpoint: {trunk}}}",
            f"part: {{architecture: tiny, checkpoint: {tmp_path}/part.pt, base: {trunk}}}",
            "on-the-hub: {checkpoint: hf://nobody/nothing}",
            "plain: {}",
            f"base-on-the-hub: {{checkpoint: {tmp_path}/part.pt, base: 'hf://nobody/base'}}",
        ]
    )
    weights = [model.weights for model in served(f"{text}\n{broken}")]
    answers = dict(zip(weights, encoder_digests(weights), strict=True))  # one process, which is slow to start
    monkeypatch.setattr(
        "serve_app.encoder_groups.encoder_digests", lambda given: [answers[one] for one in given]
    )
    other = "no-file: {checkpoint: /no/file.pt}\nrandom: {architecture: tiny-random}"
    read = readable_digests(models := served(f"{text}\n{other}"))
    elsewhere = {"on-the-hub": None, "plain": None, "base-on-the-hub": None, "no-file": None}
    assert {name: read[name] for name in (*elsewhere, "random")} == {**elsewhere, "random": "random"}
    found = [[one.name for one in group.members] for group in encoder_groups(models, lambda _: read)]
    assert found == [["base", "head"], ["trunk", "part"], *([name] for name in (*elsewhere, "random"))]
    with pytest.raises(WrongTrunk, match=r"model 'broken': .*w\.pt"):
        encoder_groups(served(f"{text}\n{broken}"))
