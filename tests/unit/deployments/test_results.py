import numpy as np
import pytest

from deployments.results import JsonText, dump_results, load_results
from sam3_engine.types import ConceptResult, Instance

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (64, 64), (0, 5), (333, 1)])
def test_masks_survive_bit_for_bit(shape: tuple[int, int]) -> None:
    mask = RNG.random(shape) < 0.5
    low = RNG.random((4, 4), dtype=np.float32)
    (found,) = load_results(dump_results([Instance(0.5, (0, 0, 1, 1), 3, mask, low)]))
    assert found.masks.dtype == np.bool_
    np.testing.assert_array_equal(found.masks, mask)
    np.testing.assert_array_equal(found.low_res_logits, low)


def test_nested_lists_keep_their_shape() -> None:
    polygon = Instance(0.5, (0, 0, 1, 1), 3, [[[0, 0], [1, 0], [1, 1]]])
    rle = Instance(0.4, (0, 0, 1, 1), 3, {"size": [2, 2], "counts": "04"})
    results = [[polygon, rle], [], [polygon]]
    assert load_results(dump_results(results)) == results
    assert load_results(dump_results([])) == []


@pytest.mark.parametrize("as_json", [False, True])
def test_warnings_travel_beside_the_instances(as_json: bool) -> None:
    mask = np.eye(5, dtype=np.bool_)
    sent = ConceptResult([Instance(0.5, (0, 0, 5, 5), 5, [] if as_json else mask)], ("the text was cut",))
    (found,) = load_results(dump_results([sent], as_json=as_json))
    assert found.warnings == ("the text was cut",)
    masks = found.instances[0].masks
    assert masks == JsonText(b"[]") if as_json else np.array_equal(masks, mask)


def test_plain_values_travel_as_they_are() -> None:
    assert load_results(dump_results([2, [0.5, "a"], None])) == [2, [0.5, "a"], None]


@pytest.mark.parametrize(
    ("masks", "text"),
    [
        ([[[0, 0], [1, 0], [1, 1]]], b"[[[0,0],[1,0],[1,1]]]"),
        ([np.array([[0, 0], [7, 300]], dtype=np.int32)], b"[[[0,0],[7,300]]]"),
        ([{"outer": np.array([[5, 6]], dtype=np.int32), "holes": []}], b'[{"outer":[[5,6]],"holes":[]}]'),
        ({"size": [2, 2], "counts": "04"}, b'{"size":[2,2],"counts":"04"}'),
        ([], b"[]"),
    ],
)
def test_masks_may_travel_as_json(masks: object, text: bytes) -> None:
    sent = Instance(0.5, (0, 0, 1, 1), 3, masks)
    ((found,),) = load_results(dump_results([[sent]], as_json=True))
    assert found.masks == JsonText(text)
    assert (found.score, found.box, found.area) == (sent.score, sent.box, sent.area)


def test_a_large_mask_of_one_object_is_small() -> None:
    mask = np.zeros((4000, 4000), dtype=np.bool_)
    mask[1000:3000, 500:2500] = True
    assert len(dump_results([Instance(0.5, (0, 0, 1, 1), 3, mask)])) < 64 * 1024
