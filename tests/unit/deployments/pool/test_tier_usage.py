from deployments.keys import ImageKey
from deployments.pool.tier_usage import Quota, TierUsage


def key(name: str, tenant: str = "t") -> ImageKey:
    return ImageKey(tenant, "m", name)


def unlimited(tenant: str) -> int | None:
    return None


def leave(
    usage: TierUsage[ImageKey], budget: int, quota: Quota = unlimited, keep: ImageKey | None = None
) -> list[str]:
    """Take out the keys that have to leave, in order."""
    gone = []
    while found := usage.next_to_leave(budget, quota, keep):
        usage.remove(found)
        gone.append(f"{found.tenant}{found.digest}")
    return gone


def filled(**tenants: int) -> TierUsage[ImageKey]:
    """Images of 10 bytes, so many for each tenant; the last tenant's came last."""
    usage: TierUsage[ImageKey] = TierUsage()
    for tenant, count in tenants.items():
        for number in range(count):
            usage.add(key(str(number), tenant), 10)
    return usage


def test_bytes_are_counted_once() -> None:
    usage = filled(a=2)
    usage.add(key("0", "a"), 30)
    assert (usage.used, usage.held_by("a"), len(usage)) == (40, 40, 2)
    for _ in range(2):
        usage.remove(key("0", "a"))
    assert (usage.used, usage.held_by("a"), len(usage)) == (10, 10, 1)
    usage.remove(key("0", "b"))
    assert key("1", "a") in usage
    assert key("1", "b") not in usage


def test_the_least_recently_used_leave_first() -> None:
    usage = filled(a=4)
    usage.touch(key("0", "a"))
    assert leave(usage, 20) == ["a1", "a2"]


def test_the_tenant_that_holds_most_gives_first() -> None:
    usage = filled(small=2, large=8)
    assert leave(usage, 60) == ["large0", "large1", "large2", "large3"]
    assert leave(usage, 40) == ["large4", "large5"], "now both hold 20"


def test_a_tenant_that_floods_the_tier_pushes_out_nobody_who_holds_less() -> None:
    usage = filled(quiet=3)
    for number in range(100):
        usage.add(key(str(number), "loud"), 10)
        leave(usage, 100, keep=key(str(number), "loud"))
    assert (usage.held_by("quiet"), usage.held_by("loud")) == (30, 70)


def test_among_equals_the_one_who_comes_gives() -> None:
    usage = filled(a=3, b=3)
    assert leave(usage, 50, keep=key("2", "a")) == ["a0"]
    usage = filled(a=3, b=3)
    assert leave(usage, 50, keep=key("2", "b")) == ["b0"]


def test_a_quota_counts_below_the_budget_too() -> None:
    usage = filled(a=5, b=5)
    assert leave(usage, 1000, {"a": 20}.get) == ["a0", "a1", "a2"]
    assert leave(usage, 1000, {"a": 0}.get) == ["a3", "a4"]


def test_an_item_to_be_kept_stays_even_alone_and_too_large() -> None:
    usage = filled(a=2)
    usage.add(key("large", "b"), 500)
    assert leave(usage, 100, {"b": 5}.get, keep=key("large", "b")) == ["a0", "a1"]
    assert usage.used == 500
