"""The policy on the objects that Serve's controller has."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray.serve._private.common import TimeStampedValue
from ray.serve.config import AutoscalingContext

from deployments.autoscaling import Load
from deployments.ray.autoscaling import load_of, serve_options
from tests.support.autoscaling import RULES

Reported = Mapping[str, Mapping[str, list[float]]]


def context(reported: Reported | None, waiting: float, calls: float) -> AutoscalingContext:
    """The controller's context of a deployment with one replica. reported: values by figure and replica."""
    known: dict[str, Any] = dict.fromkeys(
        ("deployment_id", "config", "aggregated_metrics", "last_scale_up_time", "last_scale_down_time")
    )
    raw: Any = reported and {
        figure: {
            replica: [TimeStampedValue(0.0, value) for value in values] for replica, values in by.items()
        }
        for figure, by in reported.items()
    }
    return AutoscalingContext(
        **known,
        deployment_name="PromptDecoder",
        app_name="sam3",
        current_num_replicas=1,
        target_num_replicas=1,
        running_replicas=[],
        total_num_requests=calls,
        total_queued_requests=waiting,
        raw_metrics=raw,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=8,
        policy_state={},
        current_time=5.0,
    )


def test_the_load_is_what_callers_and_replicas_report() -> None:
    reported = {
        "queued": {"a": [9.0, 4.0], "b": [3.0], "c": []},
        "oldest_s": {"a": [0.5], "b": [1.5]},
        "busy": {"a": [1.0, 0.5], "b": [0.25]},
    }
    assert load_of(context(reported, 2, 11)) == Load(queued=9, oldest_s=1.5, busy=1.0, ongoing=11)
    assert load_of(context(None, 0, 0)) == Load()


def test_serve_gets_a_number_where_nothing_is_to_be_decided_and_the_policy_elsewhere() -> None:
    assert serve_options(replace(RULES, hot=2, most=2)) == {"num_replicas": 2}
    config = serve_options(replace(RULES, zero_after_s=60))["autoscaling_config"]
    assert (config.min_replicas, config.initial_replicas, config.max_replicas) == (0, 1, 8)
    policy = config.policy.get_policy()(**config.policy.policy_kwargs)
    assert policy(context({"queued": {"a": [200.0]}}, 0, 100)) == (8, {})


def test_replicas_report_as_often_as_the_rules_say() -> None:
    """The one setting of it that Serve heeds, though it is called deprecated."""
    config = serve_options(replace(RULES, interval_s=0.5))["autoscaling_config"]
    assert (config.metrics_interval_s, config.look_back_period_s) == (0.5, 1.5)
