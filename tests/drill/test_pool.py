"""The pool under ten times the images that fit (drills/object_store.py) and under many clients (drills/pool.py)."""

from pathlib import Path

from harness.programs import report_of

RAYS_BATCH = 100
"""Objects that Ray frees together; fewer wait a second."""


def test_the_object_store_stays_under_its_budget_and_is_empty_again_after_deletions(tmp_path: Path) -> None:
    """What the raylet says, while ten times as many images pass as fit."""
    found = report_of("drills.object_store", tmp_path)
    budget, embedding, under_way = found["budget"], found["embedding"], found["under_way"]
    assert embedding > 100 * 1024, "smaller ones would not be in the object store at all"
    assert found["passed"] > 9.9 * budget
    before = found["before"]
    for held in ("pinned", "used"):
        full = found["full"][held] - before[held]
        assert budget - 3 * embedding < full < 1.05 * budget
        assert found["deleted"][held] - before[held] < embedding
    assert found["peak"]["pinned"] - before["pinned"] < 1.05 * budget + under_way
    assert found["peak"]["used"] - before["used"] < 1.05 * budget + under_way + RAYS_BATCH * embedding


def test_an_image_is_encoded_once_and_clicks_find_it_hot(tmp_path: Path) -> None:
    found = report_of("drills.pool", tmp_path)
    assert found["encodes"] == found["images"], "fifty clients sent each of them at once"
    for share, least in (("share", 0.99), ("share_after_a_death", 0.8)):
        assert found[share]["hot"] >= least * found[share]["all"] > 0
    assert all(tier["count"] > 0 for tier in found["clicks"].values())
