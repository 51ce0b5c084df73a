"""The workflow runner's part of the graph, from the settings."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from ray import serve
from ray.serve.deployment import Application

from deployments.config import PoolConfig
from deployments.ingress.models import ModelRoute
from deployments.resources import WAITING_CPU
from deployments.workflows.deployment import WORKFLOWS, WorkflowConfig, WorkflowRunner
from deployments.workflows.limits import Limits
from deployments.workflows.policy import Policy
from serve_app.models import Registry
from serve_app.settings import Settings

DECODE_THREADS = 2
"""Images that one runner decodes for the model at once; the model already knows most of them."""
QUEUE = 16
"""Runs that one replica takes in for each worker; any more get 503."""
BUSY = 0.75
"""Average share of a replica's workers in use at which another replica starts."""


class NotInstalled(RuntimeError):
    """The extra `workflows` is not installed."""


def workflow_runner(
    settings: Settings,
    pool: PoolConfig,
    routes: Sequence[ModelRoute],
    models: Mapping[str, Application],
    **options: Any,
) -> Application:
    """The deployment. routes, models: of all models. `options`: the options that all deployments share. Raises
    NotInstalled."""
    if find_spec("roboflow_workflows") is None:
        raise NotInstalled(
            "SAM3_WORKFLOWS needs the extra: pip install 'sam3-serve[workflows]', or make serve WORKFLOWS=1"
        )
    runner: Any = serve.deployment(
        WorkflowRunner,
        name=WORKFLOWS,
        # More than it takes in: the replica decides which tenant's turn it is, and which one gives way.
        max_ongoing_requests=2 * settings.workflow_workers * QUEUE,
        max_queued_requests=settings.max_queued,
        ray_actor_options={"num_cpus": WAITING_CPU},
        **_replicas(settings),
        **options,
    )
    bound: Application = runner.bind(workflow_config(settings), pool, routes, models)
    return bound


def workflow_config(settings: Settings) -> WorkflowConfig:
    """The workflow runner's part of the settings."""
    limits = Limits(
        timeout_s=settings.workflow_timeout_s,
        max_model_calls=settings.workflow_max_model_calls,
        memory_bytes=int(settings.workflow_memory_bytes),
        max_image_pixels=settings.max_image_pixels,
    )
    return WorkflowConfig(
        limits=limits,
        policy=Policy(settings.workflow_max_steps, settings.workflow_steps),
        model_ids={model_id: model.name for model_id, model in Registry.of(settings).by_id.items()},
        workers=settings.workflow_workers,
        most=settings.workflow_workers * QUEUE,
        decode_threads=DECODE_THREADS,
        retry_after_s=settings.retry_after_s,
    )


def _replicas(settings: Settings) -> dict[str, Any]:
    if settings.workflow_replicas == 1:
        return {"num_replicas": 1}
    return {
        "autoscaling_config": {
            "min_replicas": 1,
            "max_replicas": settings.workflow_replicas,
            "target_ongoing_requests": max(1.0, settings.workflow_workers * BUSY),
        }
    }
