"""The decoders at full size, as shapes on a CUDA device: devices and dtypes fit, and nothing is read back."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from sam3.model.sam3_image import Sam3Image
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from sam3_engine import concept, visual
from sam3_engine.assembly import build_model
from sam3_engine.concept import Exemplars, Grounding, TextFeatures
from sam3_engine.features import Pyramid, concept_pyramid
from sam3_engine.fusion import FusedImages, fuse, fuse_images
from sam3_engine.spec import SAM3
from tests.support.fake_cuda import cuda_arithmetic

CUDA = torch.device("cuda")
WIDTH, GRID = SAM3.d_model, SAM3.grid
PROMPTS = 4


def gflop(counter: FlopCounterMode) -> float:
    return counter.get_total_flops() / 1e9


@pytest.fixture(scope="module")
def model() -> Iterator[Sam3Image]:
    """Shapes without weights. FakeTensorMode refuses to read a value, as a CUDA graph does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
        with torch.device("meta"):
            built = build_model(SAM3).requires_grad_(False)
    with cuda_arithmetic(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        built = built.to_empty(device=CUDA)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            yield built


@pytest.fixture(scope="module")
def pyramid(model: Sam3Image) -> Pyramid:
    return concept_pyramid(model, torch.zeros(1, SAM3.vit_dim, GRID, GRID, device=CUDA, dtype=torch.bfloat16))


@pytest.fixture(scope="module")
def image(model: Sam3Image, pyramid: Pyramid) -> FusedImages:
    return fuse_images(model, pyramid[-1])


def text(prompts: int) -> TextFeatures:
    tokens = torch.zeros(32, prompts, WIDTH, device=CUDA, dtype=torch.bfloat16)
    return TextFeatures(tokens, torch.zeros(prompts, 32, device=CUDA, dtype=torch.bool))


def test_the_fusion_encoder_costs_its_products_alone(model: Sam3Image, image: FusedImages) -> None:
    """The products of six layers, without the first layer's self-attention, which is computed once an image."""
    cells, tokens, layers = GRID**2, 33, SAM3.encoder_layers
    attending = 8 * cells * WIDTH**2 + 4 * cells**2 * WIDTH
    reading = 4 * (cells + tokens) * WIDTH**2 + 4 * cells * tokens * WIDTH
    mlp = 4 * cells * WIDTH * SAM3.ffn_dim
    prompt = torch.zeros(tokens, PROMPTS, WIDTH, device=CUDA, dtype=torch.bfloat16)
    padding = torch.zeros(PROMPTS, tokens, device=CUDA, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        fuse(model, image, prompt, padding)
    each = (layers - 1) * attending + layers * (reading + mlp)
    assert counter.get_total_flops() == PROMPTS * each == PROMPTS * 225_670_201_344


def test_what_is_computed_once_an_image_is_what_a_concept_saves(
    model: Sam3Image, image: FusedImages, pyramid: Pyramid
) -> None:
    """The package's pass takes 281 GFLOP for each concept (its own code under the same counter)."""
    with FlopCounterMode(display=False) as once:
        fuse_images(model, pyramid[-1])
    with FlopCounterMode(display=False) as counter:
        found = concept.ground(model, image, text(PROMPTS), None)
    assert found.boxes.shape == (1, PROMPTS, SAM3.queries, 4)
    assert gflop(counter) / PROMPTS == pytest.approx(246.18, abs=0.01)
    assert gflop(once) == pytest.approx(34.34, abs=0.01)
    assert round(gflop(once) + gflop(counter) / PROMPTS) == 281


def test_boxes_read_nothing_back(model: Sam3Image, image: FusedImages) -> None:
    boxes = Exemplars(
        torch.zeros(2, PROMPTS, 4, device=CUDA),
        torch.zeros(2, PROMPTS, dtype=torch.long, device=CUDA),
        torch.zeros(PROMPTS, 2, dtype=torch.bool, device=CUDA),
    )
    assert concept.ground(model, image, text(PROMPTS), boxes).scores.shape == (PROMPTS, SAM3.queries)


def test_masks_read_nothing_back(model: Sam3Image, image: FusedImages, pyramid: Pyramid) -> None:
    found: Grounding = concept.ground(model, image, text(PROMPTS), None)
    planes = concept.pixel_planes(model, *pyramid[:2], found.hidden, found.prompt, found.prompt_padding)
    masks = concept.masks_of(model, planes, found.queries[:, :3].flatten(0, 1), [3] * PROMPTS)
    assert masks.shape == (3 * PROMPTS, SAM3.mask_size, SAM3.mask_size)
    assert (masks.dtype, masks.device.type) == (torch.bfloat16, "cuda")


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("refined", [True, False])
def test_clicks_read_nothing_back(model: Sam3Image, multimask: bool, refined: bool) -> None:
    levels = [
        torch.zeros(1, WIDTH // part, scale * GRID, scale * GRID, device=CUDA, dtype=torch.bfloat16)
        for part, scale in ((8, 4), (4, 2), (1, 1))
    ]
    clicks = visual.Clicks(
        torch.zeros(PROMPTS, 2, 2, device=CUDA),
        torch.zeros(PROMPTS, 2, dtype=torch.int32, device=CUDA),
        torch.zeros(PROMPTS, 1, SAM3.mask_size, SAM3.mask_size, device=CUDA) if refined else None,
    )
    found = visual.propose(model, (levels[0], levels[1], levels[2]), clicks, multimask=multimask)
    assert found.logits.shape == (PROMPTS, 3 if multimask else 1, SAM3.mask_size, SAM3.mask_size)


def test_a_value_that_is_read_back_is_an_error(model: Sam3Image) -> None:
    with pytest.raises(DataDependentOutputException):
        bool(torch.zeros(1, device=CUDA).sum() == 0)
