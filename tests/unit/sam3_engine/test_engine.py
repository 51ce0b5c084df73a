"""The engine's calls are pure: batching, threads and history change no answer."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sam3_engine import concept
from sam3_engine.engine import ConceptDetections, ConceptItem, Engine, VisualItem, embedding_version
from sam3_engine.errors import StaleEmbedding
from sam3_engine.features import Features
from sam3_engine.spec import TINY, ModelSpec
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt

SIZE = ImageSize(300, 400)
SIDE = TINY.image_size
BOX = (40.0, 50.0, 160.0, 170.0)
Square = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def features(random_engine: Engine, squares: list[Square]) -> list[Features]:
    return [random_engine.expand(embedding) for embedding in random_engine.encode(squares)]


def same(a: ConceptDetections, b: ConceptDetections) -> None:
    np.testing.assert_allclose(a.scores, b.scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(a.boxes, b.boxes, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(a.mask_logits, b.mask_logits, rtol=1e-3, atol=1e-3)


def prompts() -> list[ConceptPrompt]:
    return [
        ConceptPrompt("star", score_threshold=0.0),
        ConceptPrompt(None, (BOX,), (True,), 0.0),
        ConceptPrompt("red circle", (BOX, (1, 2, 30, 40)), (True, False), 0.0),
    ]


def test_concepts_in_one_batch_are_those_asked_one_by_one(
    random_engine: Engine, features: list[Features]
) -> None:
    together = random_engine.segment_concepts([ConceptItem(f, SIZE, prompts()) for f in features])
    for row, one in enumerate(features):
        for column, prompt in enumerate(prompts()):
            alone = random_engine.segment_concepts([ConceptItem(one, SIZE, [prompt])])[0][0]
            same(together[row][column], alone)


def test_more_prompts_than_one_pass_takes(random_engine: Engine, features: list[Features]) -> None:
    many = [ConceptPrompt(f"thing {i % 3}", score_threshold=0.0) for i in range(37)]
    found = random_engine.segment_concepts([ConceptItem(features[0], SIZE, many)])[0]
    assert len(found) == 37
    same(found[0], found[36])


def test_clicks_in_one_batch_are_those_asked_one_by_one(
    random_engine: Engine, features: list[Features]
) -> None:
    asked = [
        VisualPrompt((Point(5, 6),)),
        VisualPrompt(box=BOX),
        VisualPrompt(),
        VisualPrompt((Point(5, 6), Point(200, 100, False)), BOX),
        VisualPrompt((Point(250, 160),)),
    ]
    items = [VisualItem(f, SIZE, asked, multimask) for f in features for multimask in (True, False)]
    together = random_engine.segment_visual(items)
    for item, answers in zip(items, together, strict=True):
        for prompt, answer in zip(asked, answers, strict=True):
            single = VisualItem(item.features, SIZE, [prompt], item.multimask)
            alone = random_engine.segment_visual([single])[0][0]
            assert answer.score == pytest.approx(alone.score, abs=1e-4)
            np.testing.assert_allclose(answer.low_res_logits, alone.low_res_logits, rtol=1e-3, atol=1e-3)


def test_threads_share_an_engine(random_engine: Engine, squares: list[Square]) -> None:
    def work(index: int) -> tuple[ConceptDetections, npt.NDArray[np.float32]]:
        one = random_engine.expand(random_engine.encode([squares[index % 3]])[0])
        found = random_engine.segment_concepts([ConceptItem(one, SIZE, prompts())])[0][2]
        click = VisualItem(one, SIZE, [VisualPrompt((Point(9.0 * (index % 3), 20),))])
        return found, random_engine.segment_visual([click])[0][0].low_res_logits

    alone = [work(index) for index in range(3)]
    with ThreadPoolExecutor(4) as pool:
        for index, (found, logits) in enumerate(pool.map(work, range(24))):
            same(found, alone[index % 3][0])
            np.testing.assert_allclose(logits, alone[index % 3][1], rtol=1e-3, atol=1e-3)


def test_an_absent_concept_costs_no_mask(
    random_engine: Engine, features: list[Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Sequence[int]] = []
    pixel_decoder = random_engine.model.segmentation_head.pixel_decoder
    hook = pixel_decoder.register_forward_hook(lambda _, args, out: rows.append(tuple(out.shape)))
    try:
        absent, present = ConceptPrompt("x", score_threshold=1.0), ConceptPrompt("x", score_threshold=0.0)
        item = ConceptItem(features[0], SIZE, [absent, absent])
        found = random_engine.segment_concepts([item])[0]
        assert [len(one.scores) for one in found] == [0, 0]
        assert found[0].mask_logits.shape == (0, TINY.mask_size, TINY.mask_size)
        assert rows == []
        random_engine.segment_concepts([ConceptItem(features[0], SIZE, [absent, present, absent])])
        assert [shape[0] for shape in rows] == [1]
    finally:
        hook.remove()


def test_scores_reach_the_threshold_and_are_sorted(random_engine: Engine, features: list[Features]) -> None:
    everything = random_engine.segment_concepts(
        [ConceptItem(features[0], SIZE, [ConceptPrompt("star", score_threshold=0.0)])]
    )[0][0]
    assert list(everything.scores) == sorted(everything.scores, reverse=True)
    threshold = float(everything.scores[7])
    some = random_engine.segment_concepts(
        [ConceptItem(features[0], SIZE, [ConceptPrompt("star", score_threshold=threshold)])]
    )[0][0]
    assert len(some.scores) >= 8
    assert (some.scores >= np.float32(threshold)).all()


def test_a_phrase_is_encoded_once(
    features: list[Features], monkeypatch: pytest.MonkeyPatch, squares: list[Square]
) -> None:
    engine = Engine.random(TINY, device="cpu", dtype="float32")
    asked: list[str] = []
    original = concept.encode_text

    def encode(model: Any, phrases: list[str]) -> Any:
        asked.extend(phrases)
        return original(model, phrases)

    monkeypatch.setattr(
        "sam3_engine.phrases.encode_text",
        encode,
    )
    one = engine.expand(engine.encode([squares[0]])[0])
    for texts in (["star", "circle", "star"], ["circle"], ["square", "star"]):
        engine.segment_concepts([ConceptItem(one, SIZE, [ConceptPrompt(text) for text in texts])])
    assert sorted(asked) == ["circle", "square", "star"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_embeddings_survive_the_way_through_host_memory(squares: list[Square], dtype: str) -> None:
    engine = Engine.random(TINY, device="cpu", dtype=dtype)
    embedding = engine.encode([squares[0]])[0]
    for array in embedding.arrays.values():
        array.flags.writeable = False  # as shared memory is
    features = engine.expand(embedding)
    assert features.nbytes >= embedding.nbytes
    found = engine.segment_concepts([ConceptItem(features, SIZE, prompts())])[0]
    assert all(np.isfinite(one.scores).all() for one in found)


def test_bfloat16_is_close_to_float32(squares: list[Square], random_engine: Engine) -> None:
    half = Engine.random(TINY, device="cpu", dtype="bfloat16")
    click = [VisualPrompt(box=BOX)]
    answers = []
    for engine in (random_engine, half):
        one = engine.expand(engine.encode([squares[0]])[0])
        answers.append(engine.segment_visual([VisualItem(one, SIZE, click)])[0][0])
    assert answers[0].score == pytest.approx(answers[1].score, abs=0.05)


def test_an_embedding_of_other_weights_is_refused(random_engine: Engine, squares: list[Square]) -> None:
    other = Engine.random(TINY, seed=1, device="cpu", dtype="float32")
    with pytest.raises(StaleEmbedding):
        other.expand(random_engine.encode([squares[0]])[0])


def test_embeddings_of_other_large_matrices_are_refused(random_engine: Engine, squares: list[Square]) -> None:
    """The other weights are like those of a fine-tune, which leaves the small tensors alone."""
    tuned = {
        name: value * 1.001 if value.numel() > 4096 else value
        for name, value in random_engine.model.state_dict().items()
    }
    engine = Engine.from_state(tuned, TINY, device="cpu", dtype="float32")
    with pytest.raises(StaleEmbedding):
        engine.expand(random_engine.encode([squares[0]])[0])


def test_the_version_names_everything_that_an_embedding_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(spec: ModelSpec = TINY, weights: str = "00ff", dtype: torch.dtype = torch.float32) -> str:
        return embedding_version(spec, weights, dtype)

    layout, name = replace(TINY, layout=TINY.layout + 1), replace(TINY, name="other")
    versions = {
        version(),
        version(layout),
        version(name),
        version(weights="01"),
        version(dtype=torch.bfloat16),
    }
    assert "encoder-00ff" in version()
    monkeypatch.setattr("sam3_engine.engine.PREPROCESSING", 99)
    assert len(versions | {version()}) == 6


@pytest.mark.parametrize("shape", [(10, 10, 3), (SIDE, SIDE), (SIDE, SIDE, 4), (224, 224, 3)])
def test_images_of_another_size_are_refused(random_engine: Engine, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected uint8 images"):
        random_engine.encode([np.zeros(shape, dtype=np.uint8)])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown model"):
        Engine.load("huge")
    with pytest.raises(ValueError, match="dtype"):
        Engine.random(TINY, dtype="float8")


@pytest.mark.parametrize("size", [(1, 1), (4000, 3)])
def test_coordinates_far_outside_give_finite_answers(
    random_engine: Engine, features: list[Features], size: tuple[int, int]
) -> None:
    far = 1e9
    item_size = ImageSize(*size)
    concepts = [ConceptPrompt(None, ((-far, -far, far, far),), (True,), 0.0)]
    found = random_engine.segment_concepts([ConceptItem(features[0], item_size, concepts)])[0][0]
    assert np.isfinite(found.scores).all()
    clicks = [VisualPrompt((Point(far, -far),)), VisualPrompt(box=(-far, -far, far, far))]
    answers = random_engine.segment_visual([VisualItem(features[0], item_size, clicks)])[0]
    assert all(np.isfinite(answer.low_res_logits).all() for answer in answers)


@pytest.mark.parametrize(
    ("device", "images", "prompts"), [("cpu", {1}, {1}), ("cuda", {1, 2, 3}, {1, 2, 3, 4})]
)
def test_warming_up_takes_every_path_with_every_size_that_matters(
    random_engine: Engine, monkeypatch: pytest.MonkeyPatch, device: str, images: set[int], prompts: set[int]
) -> None:
    called: dict[str, list[Any]] = {"encode": [], "segment_concepts": [], "segment_visual": []}

    def noted(name: str) -> None:
        real = getattr(random_engine, name)

        def call(items: list[Any]) -> Any:
            called[name].append(items)
            return real(items)

        monkeypatch.setattr(random_engine, name, call)

    for name in called:
        noted(name)
    # The code for a GPU does not need one.
    monkeypatch.setattr(
        random_engine, "_batches", lambda most: range(1, (most if device == "cuda" else 1) + 1)
    )
    random_engine.warm_up(images=3, prompts=4)
    assert {len(items) for items in called["encode"]} == images
    concepts = [item.prompts for (item,) in called["segment_concepts"]]
    for form in (lambda one: one.text and not one.boxes, lambda one: one.boxes):
        assert {len(batch) for batch in concepts if form(batch[0])} == prompts
    visual = [(item.multimask, item.prompts) for (item,) in called["segment_visual"]]
    for form in (lambda one: one.box, lambda one: one.points, lambda one: not (one.box or one.points)):
        for multimask in (True, False):
            of_form = [batch for each, batch in visual if form(batch[0]) and each == multimask]
            assert {len(batch) for batch in of_form} == prompts
    assert any(batch[0].previous_logits is not None for _, batch in visual), "a click that refines"
