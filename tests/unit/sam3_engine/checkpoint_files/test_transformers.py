"""The files of transformers' SAM 3 classes: loaded here, they give the embeddings, scores and masks that transformers
gives with the same random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file, save_file

from sam3_engine.assembly import vocabulary_path
from sam3_engine.checkpoint_files.checkpoint import open_checkpoint
from sam3_engine.checkpoint_files.fitting import fit
from sam3_engine.checkpoint_files.shapes import model_shapes
from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.features import concept_pyramid, encode_images, normalise
from sam3_engine.spec import TINY
from sam3_engine.tokens import Tokenizer
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt

SIZE = ImageSize(TINY.image_size, TINY.image_size)
CLOSE: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-3}
Square = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def folder(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("transformers")
    theirs.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def ours(folder: Path) -> Engine:
    return Engine.load("tiny", checkpoint=str(folder), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def pixels(squares: list[Square]) -> torch.Tensor:
    return normalise(torch.from_numpy(squares[0])[None])


def test_embeddings_are_equal(theirs: Any, ours: Engine, pixels: torch.Tensor) -> None:
    with torch.inference_mode():
        expected = theirs.detector_model.vision_encoder(pixels)
        grid = expected.last_hidden_state.view(1, TINY.grid, TINY.grid, -1).permute(0, 3, 1, 2)
        features = encode_images(ours.model, pixels)
        torch.testing.assert_close(features.trunk, grid, **CLOSE)
        for level, wanted in zip(
            concept_pyramid(ours.model, features.trunk), expected.fpn_hidden_states, strict=False
        ):
            torch.testing.assert_close(level, wanted, **CLOSE)
        clicks, _ = theirs.tracker_neck(grid)
        decoder = theirs.tracker_model.mask_decoder
        torch.testing.assert_close(features.pvs[0], decoder.conv_s0(clicks[0]), **CLOSE)
        torch.testing.assert_close(features.pvs[1], decoder.conv_s1(clicks[1]), **CLOSE)
        constant = theirs.tracker_model.no_memory_embedding.view(1, -1, 1, 1)
        torch.testing.assert_close(features.pvs[2], clicks[2] + constant, **CLOSE)


@pytest.mark.parametrize("box", [None, (20.0, 30.0, 90.0, 110.0)])
def test_scores_boxes_and_masks_of_concepts_are_equal(
    theirs: Any,
    ours: Engine,
    squares: list[Square],
    pixels: torch.Tensor,
    box: tuple[float, float, float, float] | None,
) -> None:
    ids = Tokenizer(vocabulary_path())(["red star"], context_length=32)
    # Unlike the package, transformers leaves the exemplar encoder's class token out where there is no box. A box that
    # is padding (label -10) brings it back.
    x0, y0, x1, y1 = (value / TINY.image_size for value in box or (0, 0, 0, 0))
    arguments = {
        "input_boxes": torch.tensor([[[(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]]]),
        "input_boxes_labels": torch.tensor([[1 if box else -10]]),
    }
    with torch.inference_mode():
        mask = (ids != 0).long()
        expected = theirs.detector_model(pixel_values=pixels, input_ids=ids, attention_mask=mask, **arguments)
    scores = (expected.pred_logits.sigmoid() * expected.presence_logits.sigmoid())[0]
    order = scores.argsort(descending=True, stable=True)

    features = ours.expand(ours.encode([squares[0]])[0])
    prompt = ConceptPrompt("red star", (box,) if box else (), (True,) if box else (), 0.0)
    found = ours.segment_concepts([ConceptItem(features, SIZE, [prompt])])[0][0]
    np.testing.assert_allclose(found.scores, scores[order], **CLOSE)
    np.testing.assert_allclose(found.boxes / TINY.image_size, expected.pred_boxes[0][order], **CLOSE)
    np.testing.assert_allclose(found.mask_logits, expected.pred_masks[0][order], rtol=1e-2, atol=1e-2)


def test_scores_and_masks_of_clicks_are_equal(theirs: Any, ours: Engine, squares: list[Square]) -> None:
    tracker = theirs.tracker_model
    features = ours.expand(ours.encode([squares[0]])[0])  # as kept: in half precision
    with torch.inference_mode():
        expected = tracker._single_frame_forward(
            input_points=torch.tensor([[[[50.0, 60.0], [10.0, 200.0]]]]),
            input_labels=torch.tensor([[[1, 0]]]),
            image_embeddings=[*features.image.pvs],
            multimask_output=True,
        )
    item = VisualItem(
        features,
        SIZE,
        [VisualPrompt((Point(50, 60), Point(10, 200, False)))],
    )
    found = ours.segment_visual([item])[0][0]
    best = int(expected.iou_scores.flatten().argmax())
    assert found.score == pytest.approx(float(expected.iou_scores.flatten()[best]), abs=1e-3)
    np.testing.assert_allclose(found.mask_logits, expected.pred_masks[0, 0], **CLOSE)


def test_every_tensor_has_a_place(folder: Path) -> None:
    opened = open_checkpoint(folder / "model.safetensors")
    assert opened.format == "transformers"
    assert opened.unknown == ()
    assert opened.video, "the weights for video are told apart"
    weights = fit(opened, model_shapes(TINY))
    assert weights.inherited == ()
    assert set(weights.superfluous) == set()


def test_a_sharded_checkpoint_and_one_file_are_equal(theirs: Any, folder: Path, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path, max_shard_size="4MB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    one = open_checkpoint(folder / "model.safetensors")
    many = open_checkpoint(tmp_path / "model.safetensors.index.json")
    assert set(one.tensors) == set(many.tensors)
    assert all(torch.equal(tensor.read(), many.tensors[name].read()) for name, tensor in one.tensors.items())


def test_the_detector_alone_lacks_clicks_and_inherits_them(
    theirs: Any, random_engine: Engine, tmp_path: Path
) -> None:
    theirs.detector_model.save_pretrained(tmp_path)
    torch.save(random_engine.model.state_dict(), tmp_path / "base.pt")
    opened = open_checkpoint(tmp_path / "model.safetensors")
    weights = fit(opened, model_shapes(TINY), lambda: open_checkpoint(tmp_path / "base.pt"))
    assert len(weights.own) > 300
    assert "click neck, clicks" in str(weights)


@pytest.mark.parametrize("wrapper", ["model.", "module.", "module._orig_mod.", "base_model.model."])
def test_names_below_the_prefixes_of_wrappers_are_recognised(
    folder: Path, tmp_path: Path, wrapper: str
) -> None:
    plain = open_checkpoint(folder / "model.safetensors")
    state = load_file(folder / "model.safetensors")
    save_file({wrapper + name: value for name, value in state.items()}, tmp_path / "wrapped.safetensors")
    wrapped = open_checkpoint(tmp_path / "wrapped.safetensors")
    assert wrapped.format == "transformers"
    assert set(wrapped.tensors) == set(plain.tensors)
    assert len(wrapped.unknown) == len(plain.unknown)
    name = "detector.transformer.decoder.layers.0.self_attn.in_proj_weight"
    assert torch.equal(wrapped.tensors[name].read(), plain.tensors[name].read())
