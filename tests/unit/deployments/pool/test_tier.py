from deployments.keys import ImageKey
from deployments.pool.tier import Ledger, Quota


def key(name: str, tenant: str = "t") -> ImageKey:
    return ImageKey(tenant, "m", name)


def unlimited(tenant: str) -> int | None:
    return None


def leave(ledger: Ledger, budget: int, quota: Quota = unlimited, keep: ImageKey | None = None) -> list[str]:
    """Take out what has to leave; in order."""
    gone = []
    while found := ledger.next_to_leave(budget, quota, keep):
        ledger.remove(found)
        gone.append(f"{found.tenant}{found.digest}")
    return gone


def filled(**tenants: int) -> Ledger:
    """Images of 10 bytes, so many for each tenant; the last tenant's came last."""
    ledger = Ledger()
    for tenant, count in tenants.items():
        for number in range(count):
            ledger.add(key(str(number), tenant), 10)
    return ledger


def test_bytes_are_counted_once() -> None:
    ledger = filled(a=2)
    ledger.add(key("0", "a"), 30)
    assert (ledger.used, ledger.held_by("a"), len(ledger)) == (40, 40, 2)
    for _ in range(2):
        ledger.remove(key("0", "a"))
    assert (ledger.used, ledger.held_by("a"), len(ledger)) == (10, 10, 1)
    ledger.remove(key("0", "b"))
    assert key("1", "a") in ledger
    assert key("1", "b") not in ledger


def test_the_least_recently_used_leave_first() -> None:
    ledger = filled(a=4)
    ledger.touch(key("0", "a"))
    assert leave(ledger, 20) == ["a1", "a2"]


def test_the_tenant_that_holds_most_gives_first() -> None:
    ledger = filled(small=2, large=8)
    assert leave(ledger, 60) == ["large0", "large1", "large2", "large3"]
    assert leave(ledger, 40) == ["large4", "large5"], "now both hold 20"


def test_a_tenant_that_floods_the_tier_pushes_out_nobody_who_holds_less() -> None:
    ledger = filled(quiet=3)
    for number in range(100):
        ledger.add(key(str(number), "loud"), 10)
        leave(ledger, 100, keep=key(str(number), "loud"))
    assert (ledger.held_by("quiet"), ledger.held_by("loud")) == (30, 70)


def test_among_equals_the_one_who_comes_gives() -> None:
    ledger = filled(a=3, b=3)
    assert leave(ledger, 50, keep=key("2", "a")) == ["a0"]
    ledger = filled(a=3, b=3)
    assert leave(ledger, 50, keep=key("2", "b")) == ["b0"]


def test_a_quota_counts_below_the_budget_too() -> None:
    ledger = filled(a=5, b=5)
    assert leave(ledger, 1000, {"a": 20}.get) == ["a0", "a1", "a2"]
    assert leave(ledger, 1000, {"a": 0}.get) == ["a3", "a4"]


def test_what_is_to_be_kept_stays_even_alone_and_too_large() -> None:
    ledger = filled(a=2)
    ledger.add(key("large", "b"), 500)
    assert leave(ledger, 100, {"b": 5}.get, keep=key("large", "b")) == ["a0", "a1"]
    assert ledger.used == 500
