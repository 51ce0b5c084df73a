"""Objects are told apart by the features that lie in their masks."""

import torch
import torch.nn.functional as F

from sam3_engine.tracking.looks import exchanged, likeness, looks

GRID, SIDE = 6, 24


def halves() -> torch.Tensor:
    """Features [4, g, g]: one direction on the left, another one on the right, of any length."""
    coarse = torch.zeros(4, GRID, GRID)
    coarse[0, :, :3], coarse[1, :, 3:] = 7.0, 0.5
    return coarse


def band(left: int, right: int) -> torch.Tensor:
    logits = torch.full((SIDE, SIDE), -5.0)
    logits[:, left:right] = 5.0
    return logits


def test_each_object_looks_like_the_cells_of_its_mask() -> None:
    coarse = halves()
    known = looks(coarse.expand(2, -1, -1, -1), torch.stack([band(0, 12), band(12, 24)]))
    alike = likeness(coarse, known, SIDE)
    assert alike.shape == (2, SIDE, SIDE)
    torch.testing.assert_close(alike[0, :, :10], torch.ones(SIDE, 10))
    torch.testing.assert_close(alike[0, :, 14:], torch.zeros(SIDE, 10))
    torch.testing.assert_close(alike[1], alike[0].flip(-1))


def test_looks_are_unit_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(3, 4, GRID, GRID, generator=generator)
    logits = torch.stack([band(0, 3), band(5, 20), band(0, SIDE)])
    found = looks(coarse, logits)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(looks(9 * coarse, logits), found)


def test_an_empty_mask_is_like_nothing() -> None:
    known = looks(halves()[None], band(0, 0)[None])
    assert torch.equal(known, torch.zeros(1, 4))
    assert not likeness(halves(), known, SIDE).any()


def test_cells_at_the_edge_of_a_mask_do_not_count() -> None:
    found = looks(halves()[None], band(4, 13)[None])[0]
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, 0.0, 0.0]))


def test_a_small_mask_looks_like_the_cells_that_it_covers_most() -> None:
    found = looks(halves()[None], band(11, 12)[None])[0]
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, 0.0, 0.0]))
    both = looks(halves()[None], band(11, 13)[None])[0]
    torch.testing.assert_close(both[0] / both[1], torch.tensor(14.0))


def test_features_in_bfloat16_give_looks_in_float32() -> None:
    coarse, logits = halves(), band(0, 20)
    known = looks(coarse.bfloat16()[None], logits[None])
    assert known.dtype == torch.float32
    torch.testing.assert_close(known, looks(coarse[None], logits[None]), rtol=0.01, atol=0.01)
    assert likeness(coarse.bfloat16(), known, SIDE).dtype == torch.float32


def test_no_objects() -> None:
    assert likeness(halves(), torch.empty(0, 4), SIDE).shape == (0, SIDE, SIDE)


def near(*looks: tuple[float, ...]) -> torch.Tensor:
    return F.normalize(torch.tensor(looks, dtype=torch.float32), dim=-1)


KNOWN = near((1, 0, 0), (0, 1, 0), (0, 0, 1))


def test_two_that_look_like_one_another_are_exchanged() -> None:
    found = near((0.1, 1, 0), (1, 0.1, 0), (0, 0, 1))
    assert exchanged(found, KNOWN) == [(0, 1)]
    assert exchanged(found.flip(0), KNOWN.flip(0)) == [(1, 2)]


def test_objects_that_look_like_themselves_stay() -> None:
    assert exchanged(KNOWN, KNOWN) == []


def test_one_that_looks_like_another_is_not_enough() -> None:
    """Two objects on the same shape: which of them is right is not known by looks."""
    assert exchanged(near((0, 1, 0), (0, 1, 0), (0, 0, 1)), KNOWN) == []


def test_a_slight_difference_exchanges_nothing() -> None:
    """Of two that look alike, chance says which one is closer."""
    known = near((1, 0.1, 0), (1, 0, 0.1))
    assert exchanged(near((1, 0.05, 0.06), (1, 0.06, 0.05)), known) == []
    assert exchanged(known.flip(0), known) == []


def test_three_in_a_circle_stay() -> None:
    assert exchanged(KNOWN.roll(1, 0), KNOWN) == []


def test_hidden_objects_are_exchanged_with_none() -> None:
    found = near((0, 1, 0), (1, 0, 0))
    found[0] = 0
    assert exchanged(found, KNOWN[:2]) == []
    assert exchanged(near((0, 1, 0), (1, 0, 0)), torch.zeros(2, 3)) == []


def test_each_object_is_exchanged_once() -> None:
    known = near((1, 0, 0), (0, 1, 0), (0, 1, 0))
    found = near((0, 1, 0), (1, 0, 0), (1, 0, 0))
    assert exchanged(found, known) == [(0, 1)]


def test_nothing_is_exchanged_among_none_and_one() -> None:
    assert exchanged(torch.empty(0, 3), torch.empty(0, 3)) == []
    assert exchanged(KNOWN[:1], KNOWN[:1]) == []
