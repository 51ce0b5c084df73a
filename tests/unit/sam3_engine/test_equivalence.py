"""The pure functions and the package's own stateful classes give the same, on the same weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from sam3.model.sam1_task_predictor import SAM3InteractiveImagePredictor
from sam3.model.sam3_image_processor import Sam3Processor

from sam3_engine.encode_masks import visual_instance
from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.spec import TINY
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt

SIZE = ImageSize(TINY.image_size, TINY.image_size)
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 2e-4}
Square = npt.NDArray[np.uint8]


class Official:
    """The package's path around our model: one image, one prompt at a time, state on the way."""

    def __init__(self, engine: Engine) -> None:
        self.model = engine.model
        self.processor = Sam3Processor(
            self.model, resolution=TINY.image_size, device="cpu", confidence_threshold=0.0
        )
        with pytest.warns(FutureWarning, match="torch.jit"):
            self.predictor = SAM3InteractiveImagePredictor(self.model.inst_interactive_predictor.model)
        self.predictor._bb_feat_sizes = [(TINY.grid * scale,) * 2 for scale in (4, 2, 1)]

    def concept(
        self, square: Square, text: str | None, boxes: Sequence[tuple[list[float], bool]]
    ) -> dict[str, torch.Tensor]:
        state = self.processor.set_image(Image.fromarray(square))
        if text:
            state = self.processor.set_text_prompt(text, state)
        for box, label in boxes:
            state = self.processor.add_geometric_prompt(box, label, state)
        return dict(state)

    def visual(self, square: Square, **prompt: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        state = self.processor.set_image(Image.fromarray(square))
        ours = self.model.inst_interactive_predictor
        try:
            self.model.inst_interactive_predictor = self.predictor
            masks, scores, low_res = self.model.predict_inst(state, **prompt)
        finally:
            self.model.inst_interactive_predictor = ours
        return masks, scores, low_res


@pytest.fixture(scope="module")
def official(random_engine: Engine) -> Official:
    return Official(random_engine)


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        ("red circle", []),
        ("an unheard-of thing", []),
        (None, [((20.0, 30.0, 90.0, 110.0), True)]),
        ("star", [((20.0, 30.0, 90.0, 110.0), True), ((100.0, 5.0, 200.0, 60.0), False)]),
    ],
)
def test_concepts_equal_the_package(
    random_engine: Engine,
    official: Official,
    squares: list[Square],
    text: str | None,
    boxes: list[tuple[tuple[float, float, float, float], bool]],
) -> None:
    def centred(x0: float, y0: float, x1: float, y1: float) -> list[float]:
        side = TINY.image_size
        return [(x0 + x1) / 2 / side, (y0 + y1) / 2 / side, (x1 - x0) / side, (y1 - y0) / side]

    theirs = official.concept(squares[0], text, [(centred(*box), label) for box, label in boxes])
    features = random_engine.expand(random_engine.encode([squares[0]])[0])
    prompt = ConceptPrompt(text, tuple(b for b, _ in boxes), tuple(label for _, label in boxes), 0.0)
    ours = random_engine.segment_concepts([ConceptItem(features, SIZE, [prompt])])[0][0]

    order = theirs["scores"].argsort(descending=True, stable=True)
    assert len(order) == TINY.queries
    np.testing.assert_allclose(ours.scores, theirs["scores"][order], **CLOSE)
    np.testing.assert_allclose(ours.boxes, theirs["boxes"][order], rtol=1e-4, atol=2e-2)
    upsampled = torch.nn.functional.interpolate(ours.mask_logits[:, None], tuple(SIZE), mode="bilinear")
    np.testing.assert_allclose(upsampled.sigmoid(), theirs["masks_logits"][order], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("prompt", "arguments"),
    [
        (
            VisualPrompt((Point(50, 60),)),
            {"point_coords": np.array([[50, 60]]), "point_labels": np.array([1])},
        ),
        (
            VisualPrompt((Point(50, 60), Point(10, 200, False))),
            {"point_coords": np.array([[50, 60], [10, 200]]), "point_labels": np.array([1, 0])},
        ),
        (VisualPrompt(box=(20, 30, 120, 140)), {"box": np.array([20, 30, 120, 140])}),
        (
            VisualPrompt((Point(50, 60),), (20, 30, 120, 140)),
            {
                "point_coords": np.array([[50, 60]]),
                "point_labels": np.array([1]),
                "box": np.array([20, 30, 120, 140]),
            },
        ),
    ],
    ids=["one click", "two clicks", "box", "box and click"],
)
@pytest.mark.parametrize("multimask", [True, False])
def test_clicks_equal_the_package(
    random_engine: Engine,
    official: Official,
    squares: list[Square],
    prompt: VisualPrompt,
    arguments: dict[str, np.ndarray],
    multimask: bool,
) -> None:
    masks, scores, low_res = official.visual(squares[1], multimask_output=multimask, **arguments)
    features = random_engine.expand(random_engine.encode([squares[1]])[0])
    ours = random_engine.segment_visual([VisualItem(features, SIZE, [prompt], multimask)])[0][0]
    best = int(np.argmax(scores))
    assert ours.score == pytest.approx(scores[best], abs=1e-4)
    np.testing.assert_allclose(ours.low_res_logits, low_res[best], **CLOSE)
    differing = visual_instance(ours, SIZE, "binary").masks != masks[best]
    assert differing.mean() < 1e-3


def test_refinement_equals_the_package(
    random_engine: Engine, official: Official, squares: list[Square]
) -> None:
    previous = np.random.default_rng(0).normal(0, 4, (TINY.mask_size,) * 2).astype(np.float32)
    _, scores, low_res = official.visual(
        squares[2], point_coords=np.array([[9, 9]]), point_labels=np.array([1]), mask_input=previous[None]
    )
    features = random_engine.expand(random_engine.encode([squares[2]])[0])
    prompt = VisualPrompt((Point(9, 9),), previous_logits=previous)
    ours = random_engine.segment_visual([VisualItem(features, SIZE, [prompt])])[0][0]
    best = int(np.argmax(scores))
    assert ours.score == pytest.approx(scores[best], abs=1e-4)
    np.testing.assert_allclose(ours.low_res_logits, low_res[best], **CLOSE)
