"""How far a training run is, and what its learning rate is there."""

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """The hyperparameters of the recipe. A run ends after `minutes` or, where these are None, after `steps`."""

    steps: int = 6600
    minutes: float | None = None
    dense_share: float = 0.3
    """Share of the run in which only the trunk, the neck and the text encoder learn."""
    learning_rate: float = 8e-4
    weight_decay: float = 0.02
    warm_up: float = 0.03
    """Share of the run in which the learning rate rises; again when the whole recipe begins."""
    cool_down: float = 0.2
    """Share of the run in which the learning rate falls to zero."""
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    average: float = 0.998
    """Decay of the weights' moving average, which `training.export` writes."""


class Clock:
    """Counts the time of a run. earlier: seconds that it took before it was resumed."""

    def __init__(self, earlier: float = 0.0) -> None:
        self._minute = time.monotonic()
        self._began = self._minute - earlier

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def minute_passed(self) -> bool:
        """Whether a minute has passed since the clock began, or since this was true."""
        now = time.monotonic()
        if now - self._minute < 60:
            return False
        self._minute = now
        return True


def progress(plan: Plan, step: int, seconds: float) -> float:
    """Share of the run that is done, 0 to 1."""
    done = step / plan.steps if plan.minutes is None else seconds / (plan.minutes * 60)
    return min(1.0, done)


def learning_rate(plan: Plan, done: float) -> float:
    """Linear warm-up (and another when the full recipe begins), then constant, then linear to zero. done: see
    `progress`.

    A run that is resumed with a later end goes on where it was, as long as its rate is constant.
    """
    since = done if done < plan.dense_share else done - plan.dense_share
    warm = min(1.0, since / plan.warm_up + 0.01)
    return plan.learning_rate * min(warm, (1 - done) / plan.cool_down)
