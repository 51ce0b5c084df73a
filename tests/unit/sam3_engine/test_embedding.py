import pickle

import numpy as np
import numpy.typing as npt
import pytest

from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.spec import TINY
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt

Square = npt.NDArray[np.uint8]
SIZE = ImageSize(300, 400)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reading_an_embedding_from_shared_memory_copies_nothing(squares: list[Square], dtype: str) -> None:
    """Pickle leaves the arrays' bytes where they are, and reads them from there, as in Ray's object store."""
    embedding = Engine.random(TINY, device="cpu", dtype=dtype).encode([squares[0]])[0]
    wanted = np.uint16 if dtype == "bfloat16" else np.float32
    assert {array.dtype for array in embedding.arrays.values()} == {np.dtype(wanted)}
    buffers: list[pickle.PickleBuffer] = []
    rest = pickle.dumps(embedding, protocol=5, buffer_callback=buffers.append)
    assert len(rest) < 1000
    assert sum(buffer.raw().nbytes for buffer in buffers) == embedding.nbytes
    read = pickle.loads(rest, buffers=buffers)
    for name, array in embedding.arrays.items():
        assert np.shares_memory(read.arrays[name], array)


def test_arrays_have_channels_last(random_engine: Engine, squares: list[Square]) -> None:
    """The arrays are as the model computes them: neither side transposes 21 MB."""
    grid, width = TINY.grid, TINY.d_model
    shapes = {name: array.shape for name, array in random_engine.encode(squares)[0].arrays.items()}
    assert shapes == {
        "trunk": (grid, grid, TINY.vit_dim),
        "pvs_fine": (4 * grid, 4 * grid, width // 8),
        "pvs_middle": (2 * grid, 2 * grid, width // 4),
        "pvs_coarse": (grid, grid, width),
    }


def test_an_encode_runs_our_trunk_and_not_the_packages(
    random_engine: Engine, squares: list[Square], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(_: object) -> None:
        raise AssertionError("the package's trunk ran")

    monkeypatch.setattr(random_engine.model.backbone.vision_backbone.trunk, "forward", forward)
    assert len(random_engine.encode(squares[:2])) == 2


def test_concepts_and_clicks_use_the_same_features(random_engine: Engine, squares: list[Square]) -> None:
    """One trunk for both: the wide pyramid is made at the first concept, and once."""
    features = random_engine.expand(random_engine.encode([squares[0]])[0])
    click = VisualItem(features, SIZE, [VisualPrompt((Point(100, 100),))])
    concept = ConceptItem(features, SIZE, [ConceptPrompt("star", score_threshold=0.0)])
    sizes = []
    for _ in range(2):
        random_engine.segment_visual([click])
        sizes.append(features.nbytes)
    for _ in range(2):
        random_engine.segment_concepts([concept])
        sizes.append(features.nbytes)
    assert sizes[0] == sizes[1] < sizes[2] == sizes[3]
    pyramid = features.pyramid(random_engine.model)
    random_engine.segment_concepts([concept])
    assert all(
        one is other for one, other in zip(features.pyramid(random_engine.model), pyramid, strict=True)
    )
