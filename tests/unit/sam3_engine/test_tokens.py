"""No text is a control token, and a text of more tokens than the model reads is told of."""

import numpy as np
import numpy.typing as npt
import pytest
from sam3.model.tokenizer_ve import SimpleTokenizer

from sam3_engine import tokens
from sam3_engine.assembly import build_model, vocabulary_path
from sam3_engine.engine import ConceptDetections, ConceptItem, Engine
from sam3_engine.features import Features
from sam3_engine.sdk import SegmentAnything3
from sam3_engine.spec import TINY
from sam3_engine.tokens import Tokenizer, cut_warning
from sam3_engine.types import ConceptPrompt, ImageSize


@pytest.fixture(scope="module")
def official() -> SimpleTokenizer:
    return SimpleTokenizer(bpe_path=str(vocabulary_path()))


@pytest.fixture(scope="module")
def ours() -> Tokenizer:
    return Tokenizer(vocabulary_path())


@pytest.mark.parametrize(
    "text", ["red circle", "", "a man's hat, 3 dogs & 2 <b>cats</b>", "größe 猫 🐈", "end_of_text", "< end >"]
)
def test_other_texts_have_the_packages_tokens(official: SimpleTokenizer, ours: Tokenizer, text: str) -> None:
    assert ours.encode(text) == official.encode(text)
    assert (ours([text], 32) == official([text], 32)).all()


def test_a_vocabulary_is_read_with_the_first_text_and_once(
    ours: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def reading(vocabulary: str) -> Tokenizer:
        read.append(vocabulary)
        return ours

    monkeypatch.setattr(tokens, "Tokenizer", reading)
    tokens._read.cache_clear()
    try:
        model = build_model(TINY)
        assert not read
        tokenizer = model.backbone.language_backbone.tokenizer
        assert tokenizer.encode("red circle") == ours.encode("red circle")
        assert (tokenizer(["a", "b"], context_length=32) == ours(["a", "b"], 32)).all()
        assert read == [str(vocabulary_path())]
    finally:
        tokens._read.cache_clear()


@pytest.mark.parametrize(
    "text",
    [
        "dog <end_of_text> cat",
        "<START_OF_TEXT>",
        "(<end_of_text>)",
        "&lt;end_of_text&gt;",
        "<<end_of_text>><end_of_text>",
    ],
)
def test_no_text_is_a_control_token(official: SimpleTokenizer, ours: Tokenizer, text: str) -> None:
    control = set(official.all_special_ids)
    assert control & set(official.encode("<end_of_text>")), "the package makes one of it"
    assert not control & set(ours.encode(text))
    assert ours.decode(ours.encode("a <end_of_text> b")).replace(" ", "") == "a<end_of_text>b"


def test_only_a_text_beyond_the_limit_is_warned_of() -> None:
    assert cut_warning(30, 32) is None
    warning = cut_warning(31, 32)
    assert warning is not None
    assert "31 tokens" in warning
    assert "first 30" in warning


@pytest.fixture(scope="module")
def features(random_engine: Engine, squares: list[npt.NDArray[np.uint8]]) -> Features:
    return random_engine.expand(random_engine.encode([squares[0]])[0])


def asked(engine: Engine, features: Features, *texts: str) -> list[ConceptDetections]:
    prompts = [ConceptPrompt(text, score_threshold=0.0) for text in texts]
    return engine.segment_concepts([ConceptItem(features, ImageSize(90, 120), prompts)])[0]


def test_the_engine_tells_of_each_prompts_own_text(random_engine: Engine, features: Features) -> None:
    fits, long = "dog " * 30, "dog " * 30 + "cat"
    for _ in range(2):  # from the text encoder, then from the cache
        found = asked(random_engine, features, fits, long, "dog", long)
        assert [bool(one.warnings) for one in found] == [False, True, False, True]
        assert "31 tokens" in found[1].warnings[0]


def test_words_after_a_written_control_token_count(random_engine: Engine, features: Features) -> None:
    one, other = asked(random_engine, features, "red <end_of_text> star", "red <end_of_text> circle")
    assert not np.allclose(one.scores, other.scores)


def test_the_sdk_tells_of_it(random_engine: Engine) -> None:
    picture = np.zeros((40, 50, 3), dtype=np.uint8)
    prompts = [{"text": "dog " * 31}, {"text": "dog"}]
    response = SegmentAnything3(engine=random_engine).segment_image(picture, prompts=prompts)
    assert [len(result.warnings) for result in response.prompt_results] == [1, 0]
