from pathlib import Path

import torch

from sam3_engine.loading import read_checkpoint
from sam3_engine.sdk import Sam3Prompt, SegmentAnything3
from sam3_engine.spec import TINY
from sam3_engine.weights import digests
from tests.support.scenes import encoded, scene
from training.siblings import MEANING, WORD, model_of_another_trunk, model_of_one_trunk


def found(model: SegmentAnything3, phrase: str) -> list[float]:
    prompts = [Sam3Prompt(type="text", text=phrase)]
    (result,) = model.segment_image(encoded(scene()), prompts=prompts, format="rle").prompt_results
    return [one.confidence for one in result.predictions]


def test_the_word_means_what_it_was_taught_to_mean(tmp_path: Path) -> None:
    base = SegmentAnything3(model="tiny")
    tuned = SegmentAnything3(model="tiny", checkpoint=str(model_of_one_trunk(tmp_path / "w.safetensors")))
    assert (
        found(tuned, f"{WORD} square")
        == found(tuned, f"{MEANING} square")
        == found(base, f"{MEANING} square")
        != []
    )
    assert found(base, f"{WORD} square") != found(base, f"{MEANING} square")
    assert tuned.engine.embedding_version == base.engine.embedding_version


def test_only_one_of_them_has_the_bundled_encoder(tmp_path: Path) -> None:
    paths = model_of_one_trunk(tmp_path / "a.safetensors"), model_of_another_trunk(tmp_path / "b.safetensors")
    own = digests(read_checkpoint(TINY))
    one, other = (digests(read_checkpoint(TINY, str(path))) for path in paths)
    assert one.encoder == own.encoder != other.encoder
    assert len({own.whole, one.whole, other.whole}) == 3


def test_the_bundled_weights_stay_as_they_are(tmp_path: Path) -> None:
    before = read_checkpoint(TINY)
    model_of_another_trunk(tmp_path / "b.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in read_checkpoint(TINY).items())
