from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam3_engine.encode_masks import concept_instances
from sam3_engine.engine import ConceptItem, Engine
from sam3_engine.errors import UnreadableImage
from sam3_engine.rle import Rle, area
from sam3_engine.sdk import Sam3ForInteractiveImageSegmentation, Sam3Prompt, SegmentAnything3
from sam3_engine.spec import TINY
from sam3_engine.types import ConceptPrompt, ImageSize

HEIGHT, WIDTH = 90, 120
EVERYTHING = Sam3Prompt(type="text", text="star", output_prob_thresh=0.0)
CLICK = {"points": [{"x": 60, "y": 40, "positive": True}]}


def picture(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)


class Counting(Engine):
    """The same engine, counting the images that it encodes."""

    def __init__(self, engine: Engine) -> None:
        self.__dict__.update(engine.__dict__)
        self.encoded = 0

    def encode(self, images: Sequence[np.ndarray]) -> list:
        self.encoded += len(images)
        return super().encode(images)


@pytest.fixture
def engine(random_engine: Engine) -> Counting:
    return Counting(random_engine)


@pytest.fixture
def concepts(engine: Counting) -> SegmentAnything3:
    return SegmentAnything3(engine=engine)


@pytest.fixture
def interactive(engine: Counting) -> Sam3ForInteractiveImageSegmentation:
    return Sam3ForInteractiveImageSegmentation(model_id="sam3/sam3_final", engine=engine)


def test_the_documented_concept_call(concepts: SegmentAnything3, engine: Counting) -> None:
    image = picture(0)
    prompts = [Sam3Prompt(type="text", text="star"), EVERYTHING]
    response = concepts.segment_image(image=image, prompts=prompts, output_prob_thresh=0.5, format="rle")
    assert [result.echo.text for result in response.prompt_results] == ["star", "star"]
    assert [result.prompt_index for result in response.prompt_results] == [0, 1]
    assert response.time > 0
    features = engine.expand(
        engine.encode([np.array(image.resize((TINY.image_size,) * 2, Image.Resampling.BILINEAR))])[0]
    )
    asked = [ConceptPrompt("star", score_threshold=0.5), ConceptPrompt("star", score_threshold=0.0)]
    size = ImageSize(HEIGHT, WIDTH)
    (found,) = engine.segment_concepts([ConceptItem(features, size, asked)])
    for result, expected in zip(
        response.prompt_results, concept_instances(found, size, "rle", None), strict=True
    ):
        assert [(one.confidence, one.area) for one in result.predictions] == [
            (i.score, i.area) for i in expected
        ]
    assert len(found[1].scores) == engine.spec.queries, "a threshold of 0 keeps all queries"
    assert (response.width, response.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("name", "told"),
    [("polygon", "polygon"), ("json", "polygon"), ("polygon_holes", "polygon_holes"), ("rle", "rle")],
)
def test_formats(concepts: SegmentAnything3, name: str, told: str) -> None:
    (result,) = concepts.segment_image(picture(0), prompts=[EVERYTHING], format=name).prompt_results
    assert {one.format for one in result.predictions} == {told}
    if told == "rle":
        masks: list[Rle] = [one.masks for one in result.predictions]
        assert [area(mask) for mask in masks] == [one.area for one in result.predictions]
        assert {tuple(mask["size"]) for mask in masks} == {(HEIGHT, WIDTH)}


def test_predictions_come_highest_confidence_first(concepts: SegmentAnything3) -> None:
    (result,) = concepts.segment_image(picture(0), prompts=[EVERYTHING]).prompt_results
    confidences = [one.confidence for one in result.predictions]
    assert confidences == sorted(confidences, reverse=True)


def test_nms_drops_repeated_instances(concepts: SegmentAnything3) -> None:
    every = concepts.segment_image(picture(0), prompts=[EVERYTHING, EVERYTHING]).prompt_results
    kept = concepts.segment_image(
        picture(0), prompts=[EVERYTHING, EVERYTHING], nms_iou_threshold=0.9
    ).prompt_results
    filled = [sum(one.area > 0 for one in result.predictions) for result in kept]
    assert filled[0] > 0
    assert filled[1] == 0, "the second prompt found what the first had found"
    assert len(kept[0].predictions) <= len(every[0].predictions)


def test_boxes_are_echoed(concepts: SegmentAnything3) -> None:
    prompt = {"type": "visual", "boxes": [{"x": 10, "y": 10, "width": 40, "height": 30}], "box_labels": [1]}
    (result,) = concepts.segment_image(picture(0), prompts=[prompt]).prompt_results
    assert (result.echo.type, result.echo.text, result.echo.num_boxes) == ("visual", None, 1)


def test_an_image_is_encoded_once(
    concepts: SegmentAnything3, interactive: Sam3ForInteractiveImageSegmentation, engine: Counting
) -> None:
    for _ in range(3):
        concepts.segment_image(picture(0), prompts=[EVERYTHING])
        interactive.segment_image(picture(0), prompts=CLICK)
    assert engine.encoded == 2, "once by each object"


def test_the_documented_interactive_calls(
    interactive: Sam3ForInteractiveImageSegmentation, engine: Counting
) -> None:
    embedding, img_shape, image_id = interactive.embed_image(image=picture(1))
    assert img_shape == (HEIGHT, WIDTH)
    assert embedding.version == engine.embedding_version
    masks, scores, logits = interactive.segment_image(image_id=image_id, prompts=CLICK)
    side = engine.spec.mask_size
    assert (masks.shape, masks.dtype) == ((1, HEIGHT, WIDTH), np.bool_)
    assert (scores.shape, scores.dtype) == ((1,), np.float32)
    assert (logits.shape, logits.dtype) == ((1, side, side), np.float32)
    assert engine.encoded == 1


def test_prompts_are_answered_in_order(interactive: Sam3ForInteractiveImageSegmentation) -> None:
    box = {"box": {"x": 60, "y": 45, "width": 50, "height": 40}}
    together = interactive.segment_image(picture(1), prompts=[CLICK, box, {}])
    for index, prompt in enumerate([CLICK, box, None]):
        alone = interactive.segment_image(picture(1), prompts=prompt)
        np.testing.assert_allclose(together[2][index], alone[2][0], atol=1e-3)
        np.testing.assert_allclose(together[1][index], alone[1][0], atol=1e-4)


def test_refining_with_earlier_logits_changes_the_answer(
    interactive: Sam3ForInteractiveImageSegmentation,
) -> None:
    first = interactive.segment_image(picture(1), prompts=CLICK)[2]
    again = interactive.segment_image(picture(1), prompts=CLICK, mask_input=first, multimask_output=False)[2]
    plain = interactive.segment_image(picture(1), prompts=CLICK, multimask_output=False)[2]
    assert not np.allclose(again, plain, atol=1e-4)


def test_an_id_names_the_newest_image(
    interactive: Sam3ForInteractiveImageSegmentation, engine: Counting
) -> None:
    old = interactive.segment_image(picture(1), "mine", prompts=CLICK)[2]
    new = interactive.segment_image(picture(2), "mine", prompts=CLICK)[2]
    assert not np.allclose(old, new)
    assert np.array_equal(interactive.segment_image(image_id="mine", prompts=CLICK)[2], new)
    assert engine.encoded == 2


def test_the_least_recently_used_image_is_forgotten(engine: Counting) -> None:
    model = Sam3ForInteractiveImageSegmentation(engine=engine, embedding_cache_size=2)
    ids = [model.embed_image(picture(seed))[2] for seed in (1, 2)]
    model.segment_image(image_id=ids[0], prompts=CLICK)
    model.embed_image(picture(3))
    model.segment_image(image_id=ids[0], prompts=CLICK)
    with pytest.raises(ValueError, match="not embedded here"):
        model.segment_image(image_id=ids[1], prompts=CLICK)


@pytest.mark.parametrize("name", ["", "a\nb", ".."])
def test_names_that_the_server_refuses_are_no_ids_here(
    interactive: Sam3ForInteractiveImageSegmentation, name: str
) -> None:
    with pytest.raises(ValueError, match="an image_id"):
        interactive.embed_image(picture(1), name)


def test_threads_get_the_answers_of_their_own_images(
    interactive: Sam3ForInteractiveImageSegmentation,
) -> None:
    def ask(seed: int) -> np.ndarray:
        return interactive.segment_image(picture(seed), prompts=CLICK)[2]

    alone = [ask(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        for seed, logits in zip([0, 1, 2] * 3, pool.map(ask, [0, 1, 2] * 3), strict=True):
            np.testing.assert_allclose(logits, alone[seed], atol=1e-3)


def palette_picture(colours: list[int], **info: int) -> Image.Image:
    """Stripes of the palette's first two colours."""
    indices = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    indices[:, ::20] = indices[:, 10::20] = 1
    found = Image.frombytes("P", (WIDTH, HEIGHT), indices.tobytes())
    found.putpalette(colours)
    found.info.update(info)
    return found


def seen_differently() -> list[tuple[Image.Image, Image.Image]]:
    """Pairs of pictures with equal bytes and equal modes, which look different."""
    grey = picture(0).convert("L")
    clear = grey.copy()
    clear.info["transparency"] = grey.getpixel((0, 0))
    dark, light = [0, 0, 0, 40, 40, 40], [255, 255, 255, 200, 0, 0]
    return [
        (palette_picture(dark), palette_picture(light)),
        (palette_picture(dark), palette_picture(dark, transparency=0)),
        (grey, clear),
    ]


@pytest.mark.parametrize(
    "pair", range(3), ids=["palettes", "transparency of a palette", "transparency of grey"]
)
def test_pictures_that_look_different_get_their_own_masks(
    interactive: Sam3ForInteractiveImageSegmentation, engine: Counting, pair: int
) -> None:
    first, second = seen_differently()[pair]
    assert (first.mode, first.tobytes()) == (second.mode, second.tobytes())
    answers = [interactive.segment_image(image, prompts=CLICK)[2] for image in (first, second)]
    alone = Sam3ForInteractiveImageSegmentation(engine=engine).segment_image(second, prompts=CLICK)[2]
    assert np.array_equal(answers[1], alone)
    assert not np.array_equal(answers[0], answers[1])
    assert interactive.embed_image(first)[2] != interactive.embed_image(second)[2]


def test_a_picture_that_is_changed_in_place_is_another_one(
    interactive: Sam3ForInteractiveImageSegmentation,
) -> None:
    image = picture(0)
    before = interactive.embed_image(image)[2]
    image.paste((255, 0, 0), (0, 0, 60, 60))
    assert interactive.embed_image(image)[2] != before


def test_places_outside_the_image_are_refused(
    concepts: SegmentAnything3, interactive: Sam3ForInteractiveImageSegmentation
) -> None:
    far = {"x": 46000, "y": 190}
    with pytest.raises(
        ValueError, match=r"the point \(46000, 190\) lies outside the image, which has 120 x 90"
    ):
        interactive.segment_image(picture(0), prompts={"points": [far]})
    with pytest.raises(ValueError, match=r"the box from .* lies outside the image"):
        concepts.segment_image(picture(0), prompts=[{"boxes": [{**far, "width": 5, "height": 5}]}])


def test_logits_of_another_model_are_refused(interactive: Sam3ForInteractiveImageSegmentation) -> None:
    with pytest.raises(ValueError, match=r"one \[96, 96\] for each of 1 prompts, got \(1, 256, 256\)"):
        interactive.segment_image(picture(0), prompts=CLICK, mask_input=np.zeros((1, 256, 256)))


def test_invalid_calls_are_refused(
    concepts: SegmentAnything3, interactive: Sam3ForInteractiveImageSegmentation
) -> None:
    with pytest.raises(ValueError, match="pass the image"):
        interactive.segment_image(prompts=CLICK)
    with pytest.raises(ValueError, match="at least one prompt"):
        concepts.segment_image(picture(0))
    with pytest.raises(ValueError, match="unknown format 'svg'"):
        concepts.segment_image(picture(0), prompts=[EVERYTHING], format="svg")
    with pytest.raises(ValueError, match="nms_iou_threshold is a finite number"):
        concepts.segment_image(picture(0), prompts=[EVERYTHING], nms_iou_threshold=float("nan"))
    with pytest.raises(ValueError, match="unknown array_channels 'gbr'"):
        SegmentAnything3(engine=interactive.engine, array_channels="gbr")  # type: ignore[arg-type]
    with pytest.raises(UnreadableImage):
        interactive.embed_image(b"not an image")
    with pytest.raises(ValueError, match="model_id"):
        SegmentAnything3(model_id="workspace/7", engine=interactive.engine)
    with pytest.raises(ValueError, match="unknown model 'huge'"):
        SegmentAnything3(model="huge")
    with pytest.raises(ValueError, match=r"unknown model \['tiny'\]"):
        SegmentAnything3(model=["tiny"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"model_id": 5}, "unknown model_id 5"),
        ({"max_pixels": "x"}, "max_pixels is a whole number of at least 1, not 'x'"),
        ({"max_pixels": -1}, "max_pixels is a whole number of at least 1, not -1"),
        ({"embedding_cache_size": "x"}, "embedding_cache_size is a whole number of at least 0, not 'x'"),
        ({"embedding_cache_size": 2.5}, "embedding_cache_size is a whole number"),
        ({"array_channels": ["bgr"]}, "unknown array_channels"),
        ({"engine": "tiny"}, "engine is a loaded Engine, not 'tiny'"),
    ],
)
def test_arguments_of_other_types_are_refused_in_words(
    engine: Engine, given: dict[str, Any], meant: str
) -> None:
    with pytest.raises(ValueError, match=meant):
        SegmentAnything3(**{"engine": engine, **given})


@pytest.mark.parametrize("multimask", ["no", 2, None])
def test_multimask_output_is_true_or_false(
    interactive: Sam3ForInteractiveImageSegmentation, multimask: Any
) -> None:
    with pytest.raises(ValueError, match="multimask_output is 1, 0, True or False"):
        interactive.segment_image(picture(0), prompts=CLICK, multimask_output=multimask)


def test_a_wrong_prompt_encodes_nothing(concepts: SegmentAnything3, engine: Counting) -> None:
    with pytest.raises(ValueError, match="concept prompt needs a text"):
        concepts.segment_image(picture(0), prompts=[Sam3Prompt()])
    assert engine.encoded == 0
