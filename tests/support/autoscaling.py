"""Rules of scaling that the tests of the policy share."""

from deployments.autoscaling import Rules

RULES = Rules(
    hot=1,
    most=8,
    queue_target=16,
    patience_s=2,
    horizon_s=4,
    down_after_s=60,
    down_step_s=20,
    zero_after_s=0,
    interval_s=1,
)
