"""The policy on loads in simulated time: how soon it reacts, how far it overshoots, how often it changes its mind."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from deployments.autoscaling import Load, Memory, Rules, decide
from tests.support.autoscaling import RULES

TICK_S = 0.1
START_S = 4.0
"""Seconds that a replica needs to start."""
PER_SECOND = 10.0
"""Items that one replica answers in a second."""


@dataclass
class Service:
    """Replicas that answer PER_SECOND items each, under the policy, which sees reports of up to a second ago."""

    rules: Rules = RULES
    now: float = 0.0
    target: int = 1
    queued: float = 0.0
    ready_at: list[float] = field(default_factory=lambda: [0.0])
    memory: Memory = field(default_factory=Memory)
    seen: Load = field(default_factory=Load)
    history: list[tuple[float, int]] = field(default_factory=list)
    """Time and target, whenever it changed."""
    longest_queue: float = 0.0

    @property
    def running(self) -> int:
        return sum(ready <= self.now for ready in self.ready_at)

    def run(self, seconds: float, rate: Callable[[float], float]) -> None:
        """rate: items a second that arrive, at a time since the beginning."""
        for _ in range(round(seconds / TICK_S)):
            arrived = rate(self.now) * TICK_S
            capacity = self.running * PER_SECOND * TICK_S
            done = min(self.queued + arrived, capacity)
            self.queued += arrived - done
            self.longest_queue = max(self.longest_queue, self.queued)
            busy = self.running * done / capacity if capacity else 0.0
            if round(self.now / TICK_S) % round(self.rules.interval_s / TICK_S) == 0:
                oldest = self.queued / (self.running * PER_SECOND) if self.running else 0.0
                self.seen = Load(self.queued, oldest, busy, self.queued + done)
            self._scale()
            self.now += TICK_S

    def _scale(self) -> None:
        target, self.memory = decide(self.rules, self.now, self.seen, self.running, self.target, self.memory)
        if target != self.target:
            self.history.append((self.now, target))
        self.ready_at = sorted(self.ready_at)[:target]
        self.ready_at += [self.now + START_S] * (target - len(self.ready_at))
        self.target = target

    def changes(self, since: float = 0.0) -> list[int]:
        """Steps of the target, up (+) or down (-)."""
        steps, before = [], 1
        for when, target in self.history:
            if when >= since:
                steps.append(target - before)
            before = target
        return steps


def turns(steps: list[int]) -> int:
    """Number of times that a series of steps changes its direction."""
    return sum(a * b < 0 for a, b in pairwise(steps))


def test_a_steady_load_that_one_replica_carries_changes_nothing() -> None:
    service = Service()
    service.run(600, lambda _: 0.7 * PER_SECOND)
    assert service.history == []


@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_a_steady_load_finds_its_number_and_stays(replicas: int) -> None:
    service = Service()
    service.run(1800, lambda _: 0.75 * replicas * PER_SECOND)
    assert replicas <= service.target <= replicas + 1
    assert turns(service.changes()) <= 1, "up, then down once to what is needed"
    assert service.changes(since=600) == [], "settled within ten minutes"
    assert service.queued < 1


def test_a_burst_is_answered_at_the_next_report_and_not_overshot_beyond_the_most() -> None:
    service = Service()
    service.run(10, lambda _: 0.0)
    service.run(120, lambda _: 5 * PER_SECOND)
    (when, first), *_ = service.history
    assert when - 10 <= RULES.interval_s + TICK_S
    assert first >= 2
    reached = next(when for when, target in service.history if target >= 5)
    assert reached - 10 <= 3, "at five replicas' load five are asked for within three seconds"
    assert max(target for _, target in service.history) <= RULES.most
    assert service.queued < 1, "the queue of the burst is worked off"


def test_a_single_crowd_starts_as_many_as_its_queue_is_worth() -> None:
    service = Service()
    service.run(5, lambda _: 0.0)
    service.queued = 40  # at once, and nothing after it
    service.run(3, lambda _: 0.0)
    # 40 / 16 = 2.5 and a busy replica 1.25, growth counted at most twice
    assert 4 <= max(target for _, target in service.history) <= 7


def test_a_ramp_is_followed_without_a_step_back() -> None:
    service = Service()
    service.run(300, lambda now: 6 * PER_SECOND * now / 300)
    assert all(step > 0 for step in service.changes())
    assert 6 <= service.target <= RULES.most
    assert service.longest_queue < 3 * RULES.queue_target


def test_a_load_that_comes_and_goes_does_not_flap() -> None:
    service = Service()
    service.run(1200, lambda now: 4 * PER_SECOND if now % 40 < 20 else 0.0)
    assert turns(service.changes()) <= 1
    assert service.target >= 4, "pauses shorter than down_after_s are sat out"
    assert service.changes(since=400) == []


def test_idleness_returns_to_the_hot_ones_step_by_step() -> None:
    service = Service(replace(RULES, hot=2))
    service.run(60, lambda _: 6 * PER_SECOND)
    peak, end = service.target, service.now
    assert peak >= 6
    service.run(3600, lambda _: 0.0)
    assert service.target == 2
    down = [(when, target) for when, target in service.history if when >= end]
    assert [target for _, target in down] == list(range(peak - 1, 1, -1))
    assert down[0][0] - end >= RULES.down_after_s
    assert all(b - a >= RULES.down_step_s - TICK_S for (a, _), (b, _) in pairwise(down))


def test_few_that_wait_long_get_one_more_replica() -> None:
    """Slow models: three images of 40 seconds each are no queue worth the name, but somebody waits for the third."""
    load = Load(queued=3, oldest_s=2.5, busy=1, ongoing=4)
    target, memory = decide(replace(RULES, queue_target=100), 0, load, 1, 1, Memory())
    assert target == 2
    for tick in range(100):
        target, memory = decide(replace(RULES, queue_target=100), tick * TICK_S, load, 1, target, memory)
    assert target == 2, "while the second one starts, no third is asked for"


def test_zero_comes_after_long_idleness_alone_and_work_wakes_the_hot_ones() -> None:
    service = Service(replace(RULES, zero_after_s=900))
    service.run(890, lambda _: 0.0)
    assert service.target == 1
    service.run(20, lambda _: 0.0)
    assert service.target == 0
    service.run(600, lambda _: 0.0)
    assert service.target == 0
    service.run(20, lambda _: 2.0)
    assert service.target >= 1
    assert service.queued < 1, "what came meanwhile was held, and answered"


def test_a_replica_that_starts_is_not_idle() -> None:
    service = Service(replace(RULES, zero_after_s=8), ready_at=[60.0])
    service.run(59, lambda _: 0.0)
    assert service.target == 1, "or it would never be up"
    service.run(60, lambda _: 0.0)
    assert service.target == 0
    service.target, service.ready_at = 1, [service.now + 60]  # Serve wakes it for a caller, who leaves
    service.run(59, lambda _: 0.0)
    assert service.target == 1
    service.run(10, lambda _: 0.0)
    assert service.target == 0


def test_without_that_setting_it_never_comes_to_zero() -> None:
    service = Service()
    service.run(7_200, lambda _: 0.0)
    assert service.history == []


def test_a_restarted_controller_goes_on_from_the_target_it_finds() -> None:
    load = Load(queued=0, busy=2.5, ongoing=3)
    assert decide(RULES, 0, load, 4, 4, Memory())[0] == 4


def test_a_replica_less_must_be_roomy_before_one_is_stopped() -> None:
    rules = replace(RULES, down_after_s=0)
    assert decide(rules, 0, Load(busy=2.2, ongoing=3), 4, 4, Memory())[0] == 4
    assert decide(rules, 0, Load(busy=2.0, ongoing=2), 4, 4, Memory())[0] == 3
