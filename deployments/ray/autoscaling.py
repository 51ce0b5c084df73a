"""The policy of `deployments.autoscaling` as Serve's controller asks for it, and gets its figures."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deployments.autoscaling import BUSY, OLDEST, QUEUED, Load, Memory, Rules, decide

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingConfig, AutoscalingContext

LOOK_BACK = 3
"""Reports over which Serve averages."""


class HotPolicy:
    """`decide` as Serve's controller calls it, ten times a second: one object for each deployment."""

    def __init__(self, **rules: Any) -> None:
        """rules: the fields of Rules."""
        self._rules = Rules(**rules)
        self._memory = Memory()

    def __call__(self, ctx: "AutoscalingContext") -> tuple[int, dict[str, Any]]:
        """The target, and no state for Serve to keep."""
        target, self._memory = decide(
            self._rules,
            float(ctx.current_time or 0.0),
            load_of(ctx),
            ctx.current_num_replicas,
            ctx.target_num_replicas,
            self._memory,
        )
        return target, {}


def load_of(ctx: "AutoscalingContext") -> Load:
    """A deployment's load, from the last reports of its callers and replicas to Serve."""
    raw = ctx.raw_metrics or {}
    waiting_in_callers = float(ctx.total_queued_requests)
    return Load(
        queued=waiting_in_callers + sum(_last(raw, QUEUED)),
        oldest_s=max(_last(raw, OLDEST), default=0.0),
        busy=sum(_means(raw, BUSY)),
        ongoing=float(ctx.total_num_requests),
    )


def _last(raw: Mapping[str, Mapping[Any, Any]], name: str) -> list[float]:
    return [float(series[-1].value) for series in raw.get(name, {}).values() if series]


def _means(raw: Mapping[str, Mapping[Any, Any]], name: str) -> list[float]:
    each = [[float(point.value) for point in series] for series in raw.get(name, {}).values() if series]
    return [sum(values) / len(values) for values in each]


def serve_options(rules: Rules, *, asleep: bool = False) -> dict[str, Any]:
    """The options of a Serve deployment that follows the rules. asleep: it starts without replicas."""
    if rules.fixed:
        return {"num_replicas": rules.hot}
    return {"autoscaling_config": _config(rules, asleep)}


def _config(rules: Rules, asleep: bool) -> "AutoscalingConfig":
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    with warnings.catch_warnings():
        # `metrics_interval_s` is called deprecated; its replacement has no effect yet (ray 2.60).
        warnings.simplefilter("ignore", DeprecationWarning)
        return AutoscalingConfig(
            min_replicas=0 if rules.zero_after_s else rules.hot,
            initial_replicas=0 if asleep else rules.hot,
            max_replicas=rules.most,
            # The policy decides alone: no delays and no factors on top of it.
            upscale_delay_s=0.0,
            downscale_delay_s=0.0,
            metrics_interval_s=rules.interval_s,
            look_back_period_s=LOOK_BACK * rules.interval_s,
            aggregation_function="max",
            policy=AutoscalingPolicy(policy_function=HotPolicy, policy_kwargs=asdict(rules)),
        )
