"""The number of replicas that a deployment should have: one policy, for encoders (images) and decoders (prompts). No
Ray.

`decide` is a pure step in time, so that it can be tested on recorded loads:

    wanted = busy / FULL + (queued + growth within the horizon) / queue_target        in replicas

    up      at once to what is wanted, at most `most`; one more than run now while the oldest item waits
            longer than `patience_s`
    down    one replica at a time: the first after `down_after_s` in which less sufficed without a break, the
            next ones every `down_step_s`; never below `hot`
    zero    only where `zero_after_s` is set: after so long without any work, while a replica runs: one that starts
            is not idle, however soon its caller has left. The first call wakes `hot` again and waits meanwhile.

The wanted number counts all replicas, so replicas that are still starting are not asked for twice. Scaling down needs
a lower busy share (ROOMY) than growing does (FULL). The gap between the two keeps a steady load from flapping.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

FULL = 0.8
"""Share of its time that a replica's model may be busy before another replica is wanted."""
ROOMY = 0.7
"""Share of their time that the models of one replica less would be busy at most after scaling down."""
GROWTH_WINDOW_S = 2.0
"""Seconds over which the growth of the queue is measured."""
QUEUED, OLDEST, BUSY = "queued", "oldest_s", "busy"
"""A replica's reports: items waiting, seconds that the oldest has waited, share of time in the model."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of the policy for one deployment."""

    hot: int
    """Replicas that are always warm."""
    most: int
    queue_target: float
    """Items (images, prompts) that may wait for one replica."""
    patience_s: float
    horizon_s: float
    """The queue is taken to grow on for so long: about what a replica needs to start. It counts at most twice."""
    down_after_s: float
    down_step_s: float
    zero_after_s: float
    """0: never."""
    interval_s: float
    """Seconds between two reports of replicas and their callers."""

    @property
    def fixed(self) -> bool:
        """True where the rules leave no choice: as many replicas at most as are always warm, and never zero."""
        return self.most <= self.hot and not self.zero_after_s


@dataclass(frozen=True, slots=True)
class Load:
    """The work of a deployment now, all replicas and callers together."""

    queued: float = 0.0
    """Items that wait: in replicas, and in callers for a replica."""
    oldest_s: float = 0.0
    busy: float = 0.0
    """Replicas' worth of time that models were busy."""
    ongoing: float = 0.0
    """Calls of any kind that are being answered or wait."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The policy's notes from one step to the next. A controller that restarts begins with an empty one."""

    samples: tuple[tuple[float, float], ...] = ()
    """Time and items queued, within GROWTH_WINDOW_S."""
    less_since: float | None = None
    """Since when fewer replicas than the target would do."""
    idle_since: float | None = None
    """Since when a replica has run without work."""


def decide(
    rules: Rules, now: float, load: Load, running: int, target: int, memory: Memory
) -> tuple[int, Memory]:
    """The new target and memory. now: seconds. running: replicas that answer; target: replicas asked for."""
    samples = (
        *(sample for sample in memory.samples if sample[0] >= now - GROWTH_WINDOW_S),
        (now, load.queued),
    )
    idle = not (load.queued or load.ongoing)
    idle_since = (now if memory.idle_since is None else memory.idle_since) if idle and running else None
    memory = replace(memory, samples=samples, idle_since=idle_since)
    if rules.zero_after_s and idle_since is not None and now - idle_since >= rules.zero_after_s:
        return 0, replace(memory, less_since=None)
    if target == 0 and idle:
        return 0, memory
    wanted = math.ceil(load.busy / FULL + _expected(rules, samples) / rules.queue_target)
    if load.oldest_s > rules.patience_s:
        wanted = max(wanted, running + 1)
    wanted = max(rules.hot, min(wanted, rules.most))
    if wanted >= target:
        return wanted, replace(memory, less_since=None)
    if load.busy > ROOMY * (target - 1) or load.oldest_s > rules.patience_s:
        return target, replace(memory, less_since=None)
    since = now if memory.less_since is None else memory.less_since
    if now - since < rules.down_after_s:
        return target, replace(memory, less_since=since)
    return target - 1, replace(memory, less_since=now - rules.down_after_s + rules.down_step_s)


def _expected(rules: Rules, samples: Sequence[tuple[float, float]]) -> float:
    """Items queued once a replica asked for now could help, if the queue grows on as it does."""
    queued = samples[-1][1]
    growth = max(0.0, queued - samples[0][1]) / GROWTH_WINDOW_S
    return queued + min(queued, growth * rules.horizon_s)
