"""An encoder and a decoder each hold a part of the model, and answer together as the whole one does."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sam3_engine.assembly import build_model
from sam3_engine.device import Precision
from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.errors import WrongCheckpoint
from sam3_engine.loading import without_values
from sam3_engine.roles import NO_MEMORY, TRACKER, VIDEO_ONLY, Role
from sam3_engine.spec import SAM3, TINY
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from sam3_engine.weights import COMPUTED, digests, encoder_digest, weights_digest

HALF = Precision(torch.bfloat16, torch.bfloat16, torch.bfloat16, torch.bfloat16)
"""The number formats on a GPU."""
SIZE = ImageSize(300, 400)
Square = npt.NDArray[np.uint8]


@pytest.mark.parametrize(("role", "most"), [("encoder", 0.95e9), ("decoder", 0.85e9)])
def test_a_role_of_the_official_size_has_few_bytes_of_parameters(role: Role, most: float) -> None:
    model = without_values(SAM3, role, HALF)
    assert sum(parameter.nbytes for parameter in model.parameters()) <= most


def test_the_roles_share_hardly_any_parameter_and_miss_none() -> None:
    parts = {
        role: {name for name, _ in without_values(SAM3, role, HALF).named_parameters()}
        for role in ("encoder", "decoder", "all")
    }
    assert not parts["encoder"] & parts["decoder"]
    assert parts["encoder"] | parts["decoder"] == parts["all"]
    assert not [name for name in parts["all"] if name.startswith(VIDEO_ONLY)]


def test_a_model_without_values_has_no_parameters_memory_but_its_computed_buffers() -> None:
    model = without_values(TINY, "all", HALF)
    kept = sum(parameter.nbytes for parameter in model.parameters() if not parameter.is_meta)
    assert kept < sum(parameter.numel() for parameter in model.parameters()) / 100
    assert not [name for name, buffer in model.named_buffers() if buffer.is_meta]


@pytest.mark.parametrize("role", ["encoder", "decoder", "all"])
def test_nothing_of_a_loaded_part_is_left_without_values(random_engine: Engine, role: Role) -> None:
    engine = Engine.from_state(random_engine.model.state_dict(), TINY, role=role, device="cpu")
    tensors = [*engine.model.parameters(), *engine.model.buffers()]
    assert not [tensor for tensor in tensors if tensor.is_meta or tensor.requires_grad]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_encoder_and_a_decoder_answer_as_the_whole_model(
    random_engine: Engine, squares: list[Square], dtype: str
) -> None:
    state = random_engine.model.state_dict()
    whole, encoder, decoder = (
        Engine.from_state(state, TINY, role=role, device="cpu", dtype=dtype)
        for role in ("all", "encoder", "decoder")
    )
    assert encoder.embedding_version == decoder.embedding_version == whole.embedding_version
    answers = []
    for encodes, answering in ((whole, whole), (encoder, decoder)):
        features = answering.expand(encodes.encode([squares[0]])[0])
        concept = ConceptItem(features, SIZE, [ConceptPrompt("star", score_threshold=0.0)])
        click = VisualItem(features, SIZE, [VisualPrompt((Point(9, 20),))])
        answers.append((answering.segment_concepts([concept])[0][0], answering.segment_visual([click])[0][0]))
    (concept_a, click_a), (concept_b, click_b) = answers
    np.testing.assert_array_equal(concept_a.scores, concept_b.scores)
    assert torch.equal(concept_a.mask_logits, concept_b.mask_logits)
    np.testing.assert_array_equal(click_a.low_res_logits, click_b.low_res_logits)


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_role_is_warmed_up_without_the_other(random_engine: Engine, role: Role) -> None:
    Engine.from_state(random_engine.model.state_dict(), TINY, role=role, device="cpu").warm_up()


def test_a_sample_is_an_embedding_like_those_of_images(random_engine: Engine, squares: list[Square]) -> None:
    sample, real = random_engine.sample(), random_engine.encode([squares[0]])[0]
    assert sample.version == real.version
    assert {name: (a.shape, a.dtype) for name, a in sample.arrays.items()} == {
        name: (a.shape, a.dtype) for name, a in real.arrays.items()
    }


def test_a_role_refuses_what_it_cannot_do(random_engine: Engine, squares: list[Square]) -> None:
    state = random_engine.model.state_dict()
    encoder, decoder = (
        Engine.from_state(state, TINY, role=role, device="cpu") for role in ("encoder", "decoder")
    )
    with pytest.raises(ValueError, match="loaded as decoder, and has no weights of the encoder"):
        decoder.encode([squares[0]])
    features = decoder.expand(encoder.encode([squares[0]])[0])
    with pytest.raises(ValueError, match="loaded as encoder"):
        encoder.segment_visual([VisualItem(features, SIZE, [VisualPrompt((Point(9, 20),))])])
    with pytest.raises(ValueError, match="loaded as encoder"):
        encoder.segment_concepts([ConceptItem(features, SIZE, [ConceptPrompt("star")])])
    with pytest.raises(ValueError, match="unknown role"):
        Engine.load("tiny", role="trunk")  # type: ignore[arg-type]


def test_a_role_needs_only_its_part_of_a_checkpoint(random_engine: Engine) -> None:
    state = random_engine.model.state_dict()
    part = {name: value for name, value in state.items() if ".trunk." not in name}
    Engine.from_state(part, TINY, role="decoder", device="cpu")
    with pytest.raises(WrongCheckpoint, match=r"trunk\."):
        Engine.from_state(part, TINY, role="encoder", device="cpu")


def test_a_loaded_model_does_not_change_with_the_tensors_that_it_was_loaded_from(
    random_engine: Engine,
) -> None:
    state = {name: value.clone() for name, value in random_engine.model.state_dict().items()}
    engine = Engine.from_state(state, TINY, device="cpu")
    for value in state.values():
        value.zero_()
    assert all(
        torch.equal(value, random_engine.model.state_dict()[name])
        for name, value in engine.model.state_dict().items()
    )


def test_a_decoder_for_video_holds_the_memory_and_an_encoder_never_does() -> None:
    def names(role: Role, video: bool) -> set[str]:
        return {name for name, _ in without_values(SAM3, role, HALF, video=video).named_parameters()}

    added = names("decoder", True) - names("decoder", False)
    assert {name for name in added if name.startswith(VIDEO_ONLY)} == added - {NO_MEMORY}
    assert names("encoder", True) == names("encoder", False)
    assert names("all", True) - names("all", False) == added - {NO_MEMORY}


def test_engines_with_and_without_video_share_embeddings(random_engine: Engine) -> None:
    state = build_model(TINY, video=True).state_dict()
    image, video = (Engine.from_state(state, TINY, device="cpu", video=video) for video in (False, True))
    decoder = Engine.from_state(state, TINY, role="decoder", device="cpu", video=True)
    encoder = Engine.from_state(state, TINY, role="encoder", device="cpu", video=True)
    assert image.embedding_version == video.embedding_version == encoder.embedding_version
    assert video.track_version == decoder.track_version != image.track_version
    assert image.track_version is encoder.track_version is None


def test_tracks_are_of_their_memorys_weights() -> None:
    state = build_model(TINY, video=True).state_dict()
    name = f"{TRACKER}.maskmem_tpos_enc"
    one = Engine.from_state(state, TINY, device="cpu", video=True)
    other = Engine.from_state(state | {name: state[name] + 1}, TINY, device="cpu", video=True)
    assert one.embedding_version == other.embedding_version
    assert one.track_version != other.track_version


def test_a_checkpoint_without_a_memory_serves_images_only(random_engine: Engine) -> None:
    state = random_engine.model.state_dict()
    with pytest.raises(WrongCheckpoint, match=r"maskmem|transformer"):
        Engine.from_state(state, TINY, device="cpu", video=True)


def test_the_encoders_digest_is_of_the_weights_that_an_encoder_holds() -> None:
    whole = build_model(TINY, video=True).state_dict()
    held = {name for name in build_model(TINY, "encoder").state_dict() if not name.endswith(COMPUTED)}
    digest = encoder_digest(whole)
    for name, value in whole.items():
        if name.endswith(COMPUTED):
            continue
        changed = whole | {name: value + 1}
        assert (encoder_digest(changed) != digest) is (name in held), name


def test_both_digests_of_a_checkpoint_are_made_in_one_reading(random_engine: Engine) -> None:
    state = random_engine.model.state_dict()
    found = digests(state)
    assert (found.encoder, found.whole) == (encoder_digest(state), weights_digest(state))
    assert found.encoder != found.whole


def test_models_with_one_trunk_share_embeddings_and_answer_for_themselves(
    random_engine: Engine, squares: list[Square]
) -> None:
    state = random_engine.model.state_dict()
    name = "dot_prod_scoring.hs_proj.weight"
    base = Engine.from_state(state, TINY, device="cpu")
    tuned = Engine.from_state(state | {name: state[name] + 1}, TINY, device="cpu")
    assert base.embedding_version == tuned.embedding_version
    assert base.version != tuned.version
    embedding = base.encode([squares[0]])[0]
    prompts = [ConceptPrompt("star", score_threshold=0.0)]
    scores = [
        engine.segment_concepts([ConceptItem(engine.expand(one), SIZE, prompts)])[0][0].scores
        for engine, one in ((base, embedding), (tuned, embedding), (tuned, tuned.encode([squares[0]])[0]))
    ]
    np.testing.assert_array_equal(scores[1], scores[2])
    assert not np.array_equal(scores[0], scores[1])
