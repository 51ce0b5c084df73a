"""Objects are told apart by the features that lie in their masks."""

import torch

from sam3_engine.tracking.looks import likeness, looks

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


def test_an_empty_mask_has_no_look_and_gains_and_loses_nothing_by_it() -> None:
    coarse = halves()
    known = looks(coarse.expand(3, -1, -1, -1), torch.stack([band(0, 0), band(0, 12), band(12, 24)]))
    assert torch.equal(known[0], torch.zeros(4))
    alike = likeness(coarse, known, SIDE)
    torch.testing.assert_close(alike[0, :, :10], alike[1, :, :10])
    torch.testing.assert_close(alike[0, :, 14:], alike[2, :, 14:])
    assert not likeness(coarse, known[:1], SIDE).any()


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
