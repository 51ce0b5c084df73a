"""The numbers of replicas that the settings ask for: the autoscaling rules of each deployment, and the largest sum."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from deployments.autoscaling import Rules
from deployments.resources import Wishes
from serve_app.encoder_groups import EncoderGroup
from serve_app.models import Registry, ServedModel
from serve_app.settings import Auto, Settings


def wishes(settings: Settings, groups: Sequence[EncoderGroup] = ()) -> Wishes:
    """The resources that the settings ask for, for the largest allowed number of replicas of all models. groups: of the
    models, where they are known."""
    groups = groups or [EncoderGroup(tuple(Registry.of(settings).models))]
    given = {name: getattr(settings, name) for name in Wishes.__dataclass_fields__}
    most = {
        "encoder_replicas": sum(encoder_rules(settings, group).most for group in groups),
        "decoder_replicas": sum(
            decoder_rules(settings, model).most for group in groups for model in group.members
        ),
    }
    most["workflow_replicas"] = settings.workflow_replicas if settings.workflows else 0
    return Wishes(**{**given, **most})


def rules(settings: Settings, which: Literal["encoder", "decoder"]) -> Rules:
    """The parameters of the autoscaling policy."""
    hot: int = getattr(settings, f"{which}_replicas")
    most: Auto | int = getattr(settings, f"{which}_max_replicas")
    return Rules(
        hot=hot,
        most=hot if most == "auto" else max(hot, most),
        queue_target=getattr(settings, f"{which}_queue_target"),
        patience_s=settings.scale_patience_s,
        horizon_s=settings.scale_horizon_s,
        down_after_s=settings.scale_down_after_s,
        down_step_s=settings.scale_down_step_s,
        zero_after_s=settings.scale_to_zero_after_s,
        interval_s=settings.scale_interval_s,
    )


def decoder_rules(settings: Settings, model: ServedModel) -> Rules:
    """The parameters of the autoscaling policy for a model's decoders."""
    common = rules(settings, "decoder")
    if not settings.models:
        return common
    hot = max(1, model.replicas)
    return replace(
        common, hot=hot, most=max(hot, model.max_replicas or hot), zero_after_s=model.sleep_after_s
    )


def encoder_rules(settings: Settings, group: EncoderGroup) -> Rules:
    """The parameters of the autoscaling policy for the encoders of a group: they sleep when all of its models do."""
    sleeps = [model.sleep_after_s for model in group.members]
    return replace(rules(settings, "encoder"), zero_after_s=max(sleeps) if all(sleeps) else 0.0)
