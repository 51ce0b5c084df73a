import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sam3_engine.regions import mask_of_array
from sam3_engine.types import ImageSize
from serve_app.label.candidates import cut, mask_of


@given(
    seed=st.integers(0, 2**32 - 1),
    cells=st.integers(1, 12),
    share=st.sampled_from([0.02, 0.2, 0.9]),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_the_part_around_an_object_has_the_mask_of_the_whole_map(
    seed: int, cells: int, share: float, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 20, (cells, cells)).astype(np.float32)
    logits[rng.random((cells, cells)) > share] = -rng.uniform(0, 50)
    size = ImageSize(height, width)
    whole, part = mask_of_array(logits, size), cut(logits)
    assert (part is None) == (not (logits > 0).any())
    if part is not None:
        found = mask_of(part, size)
        assert (found.full() == whole.full()).all()


def test_a_small_object_travels_as_a_small_part() -> None:
    logits = np.full((288, 288), -3.0, dtype=np.float32)
    logits[100:110, 50:70] = 3
    part = cut(logits)
    assert part is not None
    assert len(part["logits"]) == 12 * 22 * 4
