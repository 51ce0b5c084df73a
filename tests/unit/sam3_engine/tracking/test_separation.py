"""A cell that several objects claim belongs to one of them."""

import torch

from sam3_engine.tracking import separation
from sam3_engine.tracking.separation import LOOK, LOST, STEP, STEPS

SIDE = 64


def square(x: int, y: int, side: int, logit: float = 5.0) -> torch.Tensor:
    logits = torch.full((SIDE, SIDE), -5.0)
    logits[y : y + side, x : x + side] = logit
    return logits


def separated(logits: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Of objects of one kind without looks."""
    return separation.separated(logits, before, torch.zeros_like(logits), one_kind(len(logits)))


def one_kind(count: int) -> torch.Tensor:
    return torch.zeros(count)


def hidden() -> torch.Tensor:
    return torch.full((SIDE, SIDE), -1024.0)


def test_no_cell_is_in_two_masks() -> None:
    generator = torch.Generator().manual_seed(0)
    before = torch.stack([square(0, 0, 10), square(20, 0, 10), square(40, 0, 10), hidden()])
    logits = 10 * torch.randn(4, SIDE, SIDE, generator=generator)
    after = separated(logits, before)
    assert ((logits > 0).sum(dim=0) > 1).any()
    assert torch.equal((after > 0).sum(dim=0), (logits > 0).any(dim=0).long())


def test_of_two_as_sure_a_cell_belongs_to_the_object_that_was_closest() -> None:
    before = torch.stack([square(0, 0, 16), square(24, 0, 16)])
    both = torch.stack([square(0, 0, 40, 2.0 + STEP / 2), square(0, 0, 40, 2.0)])
    after = separated(both, before) > 0
    assert after[0, 8, :20].all()
    assert not after[0, 8, 20:].any()
    assert after[1, 8, 20:40].all()


def test_each_step_from_the_last_mask_counts_against_an_object() -> None:
    """An object in front, which is sure of its edge, moves over one that was there before."""
    before = torch.stack([square(0, 0, 20), square(20, 0, 20)])
    now = [square(0, 0, 23, 2.0 + 2.5 * STEP), square(20, 0, 20, 2.0)]
    after = separated(torch.stack(now), before) > 0
    assert after[0, 8, :22].all()
    assert not after[0, 8, 22:].any()
    assert after[1, 8, 22:40].all()


def test_of_two_that_were_as_close_the_highest_logit_counts() -> None:
    before = torch.stack([hidden(), hidden()])
    after = separated(torch.stack([square(0, 0, 10, 2.0), square(5, 0, 10, 3.0)]), before)
    assert (after[0] > 0).sum() == 50
    assert (after[1] > 0).sum() == 100
    assert after[0, 0, 7] == LOST


def test_a_hidden_object_takes_nothing_from_one_that_was_seen_nearby() -> None:
    before = torch.stack([hidden(), square(0, 0, 20)])
    after = separated(torch.stack([square(0, 0, 20, 3.0), square(0, 0, 20, 1.0)]), before)
    assert not (after[0] > 0).any()
    assert torch.equal(after[1], square(0, 0, 20, 1.0))


def test_a_cell_belongs_to_the_object_that_it_looks_like() -> None:
    """An object that passes behind another one keeps its own cells, though its rival was there and is as sure."""
    before = torch.stack([square(0, 0, 20), square(22, 0, 10)])
    claims = torch.stack([square(0, 0, 30, 4.0), square(0, 0, 30, 4.0 + LOOK / 4)])
    alike = torch.zeros_like(claims)
    alike[0, :, :25], alike[1, :, 25:] = 0.8, 0.8
    after = separation.separated(claims, before, alike, one_kind(2)) > 0
    assert after[0, :30, :25].all()
    assert after[1, :30, 25:30].all()


def test_a_look_takes_no_cell_that_an_object_does_not_claim() -> None:
    before = torch.stack([square(0, 0, 20), square(20, 0, 20)])
    claims = torch.stack([square(0, 0, 22), square(18, 0, 22)])
    alike = torch.stack([torch.ones(SIDE, SIDE), -torch.ones(SIDE, SIDE)])
    after = separation.separated(claims, before, alike, one_kind(2)) > 0
    assert torch.equal(after[0], claims[0] > 0)
    assert torch.equal(after[1], (claims[1] > 0) & ~after[0])


def test_beyond_all_steps_the_highest_logit_counts() -> None:
    before = torch.stack([square(0, 0, 4), square(10, 0, 4)])
    far = 14 + STEPS
    after = separated(torch.stack([square(far, 0, 10, 3.0), square(far, 0, 10, 2.0)]), before)
    assert (after[0] > 0).any()
    assert not (after[1] > 0).any()


def test_a_part_of_an_object_may_stay_in_it() -> None:
    both = torch.stack([square(0, 0, 30, 9.0), square(5, 5, 8, 1.0)])
    assert torch.equal(separated(both, both), both)


def test_of_three_a_part_and_a_stranger_only_the_stranger_is_kept_out() -> None:
    before = torch.stack([square(0, 0, 30), square(5, 5, 8), square(40, 0, 20)])
    now = before.clone()
    now[2, :, 8:60] = 6.0
    after = separated(now, before)
    assert torch.equal(after[:2], before[:2])
    assert not (after[2, :30, :30] > 0).any()


def test_the_same_object_twice_stays_twice() -> None:
    twice = torch.stack([square(0, 0, 30)] * 2)
    assert torch.equal(separated(twice, twice), twice)


def test_objects_apart_are_left_as_they_are() -> None:
    logits = torch.stack([square(0, 0, 20), square(30, 0, 20)])
    assert separated(logits, logits) is logits


def test_one_object_and_none_are_left_as_they_are() -> None:
    for logits in (square(0, 0, 20)[None], torch.empty(0, SIDE, SIDE)):
        assert separated(logits, logits) is logits


def test_the_order_of_objects_does_not_count() -> None:
    generator = torch.Generator().manual_seed(1)
    before, logits = (10 * torch.randn(3, SIDE, SIDE, generator=generator) - 5 for _ in range(2))
    order = torch.tensor([2, 0, 1])
    assert torch.equal(separated(logits, before)[order], separated(logits[order], before[order]))


def test_distances_are_shares_of_the_frame() -> None:
    """A mask of more cells is divided at the same place."""

    def enlarged(logits: torch.Tensor) -> torch.Tensor:
        return logits.repeat_interleave(4, dim=-2).repeat_interleave(4, dim=-1)

    before = torch.stack([square(0, 0, 16), square(24, 0, 16)])
    both = torch.stack([square(0, 0, 40, 2.1), square(0, 0, 40, 2.0)])
    assert torch.equal(separated(enlarged(both), enlarged(before)) > 0, enlarged(separated(both, before)) > 0)


def test_objects_of_different_kinds_do_not_come_to_overlap() -> None:
    before = torch.stack([square(0, 0, 20), square(20, 0, 20)])
    claims = torch.stack([square(0, 0, 30), square(10, 0, 30)])
    kinds = torch.arange(2)
    after = separation.separated(claims, before, torch.zeros_like(claims), kinds) > 0
    assert not (after[0] & after[1]).any()
    assert (after[0] | after[1])[:20, :40].all()


def test_objects_of_different_kinds_that_overlapped_may_go_on() -> None:
    """A hat that sticks out of the mask of its person, as they were detected."""
    before = torch.stack([square(0, 20, 40), square(10, 10, 20)])
    kinds = torch.arange(2)
    assert torch.equal(separation.separated(before, before, torch.zeros_like(before), kinds), before)
    assert not torch.equal(separated(before, before), before), "of one kind they dispute"
