"""The graph of deployments, from the settings.

    serve run serve_app.builder:build_app model=tiny
    serve deploy config.yaml          # import_path: serve_app.builder:build_app, args: {model: tiny}

`sam3-serve up` builds the same graph on a Ray cluster of its own.
"""

import hashlib
import re
from dataclasses import replace
from typing import Any

from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.deployment import Application

from deployments.config import (
    DECODER,
    ENCODER,
    INGRESS,
    PoolConfig,
)
from deployments.decoder.deployment import PromptDecoder
from deployments.encoder.deployment import ImageEncoder
from deployments.ingress.models import ModelRoute
from deployments.ray.autoscaling import serve_options
from deployments.ray.nodes import cpus
from deployments.ray.router import LOAD_ROUTER, ROUTER
from deployments.resources import Machine, Plan, Share, plan
from serve_app.encoder_groups import EncoderGroup, encoder_groups
from serve_app.ingress import Ingress
from serve_app.models import Registry, ServedModel
from serve_app.replica_configs import decoder_config, encoder_config, node_labels, pool_config
from serve_app.replica_numbers import decoder_rules, encoder_rules, wishes
from serve_app.settings import Settings
from serve_app.workflows import workflow_runner

DRAIN_POLL_S = 0.25
"""Seconds between a stopping replica's checks whether its requests are finished."""
LOGGING = {"enable_access_log": False}
"""Switches Serve's own log line per request off: `serve_app/http/around/access_log.py` writes one."""


def build_app(args: Settings) -> Application:
    """The application: an ingress in front of encoders and decoders. `args`: settings; the environment gives
    all others. Raises NotEnough, NotInstalled, NoStore, ContradictorySettings and WrongTrunk."""
    machine = cluster()
    served = Registry.of(args)
    groups = encoder_groups(served.models)
    parts = plan(wishes(args, groups), machine)
    pool = pool_config(args, machine)
    models: dict[str, Application] = {}
    encoding: list[str] = []
    routes: dict[str, ModelRoute] = {}
    for group in groups:
        name = _encoder_name(served, group)
        encoding.append(name)
        models[name] = encoders(args, parts, group, name)
        for model in group.members:
            decoder = deployment_name(DECODER, served, model)
            tracking = pool if model is served.default else replace(pool, video=None)
            models[decoder] = decoders(args, parts, tracking, group, model, decoder, name)
            needed = model.pinned or model is served.default
            routes[model.name] = ModelRoute(model.identity, decoder, name, needed, model.sleep_after_s > 0)
    ordered = [routes[served.default_name], *(routes[each.name] for each in served.models)]
    listed = tuple(dict.fromkeys(ordered))
    ingress: Any = serve.deployment(
        Ingress,
        name=INGRESS,
        num_replicas=args.ingress_replicas,
        max_ongoing_requests=args.ingress_max_ongoing,
        ray_actor_options={"num_cpus": parts.ingress_num_cpus},
        **_per_node(args.ingress_per_node),
        logging_config=LOGGING,
        **lifecycle(args),
    )
    workflows = (
        workflow_runner(args, pool, listed, models, logging_config=LOGGING, **lifecycle(args))
        if args.workflows
        else None
    )
    known = replace(pool, encoders=tuple(encoding))
    app: Application = ingress.bind(args, known, listed, models, workflows)
    return app


def encoders(args: Settings, parts: Plan, group: EncoderGroup, name: str) -> Application:
    """The deployment of the encoders of a group of models."""
    encoder: Any = serve.deployment(
        ImageEncoder,
        name=name,
        **serve_options(encoder_rules(args, group), asleep=all(not each.replicas for each in group.members)),
        max_ongoing_requests=args.encoder_max_ongoing,
        ray_actor_options=_actor(parts.encoder, args.encoder_nodes),
        request_router_config=RequestRouterConfig.model_validate({"request_router_class": LOAD_ROUTER}),
        **_per_node(args.encoder_per_node),
        logging_config=LOGGING,
        **lifecycle(args),
    )
    bound: Application = encoder.bind(encoder_config(args, parts, group))
    return bound


def decoders(
    args: Settings,
    parts: Plan,
    pool: PoolConfig,
    group: EncoderGroup,
    model: ServedModel,
    name: str,
    encoder: str,
) -> Application:
    """The deployment of a model's decoders. encoder: the name of its encoders' deployment."""
    decoder: Any = serve.deployment(
        PromptDecoder,
        name=name,
        **serve_options(decoder_rules(args, model), asleep=not model.replicas),
        max_ongoing_requests=args.decoder_max_ongoing,
        max_queued_requests=args.max_queued,
        ray_actor_options=_actor(parts.decoder, args.decoder_nodes),
        **_per_node(args.decoder_per_node),
        request_router_config=RequestRouterConfig.model_validate({"request_router_class": ROUTER}),
        logging_config=LOGGING,
        **lifecycle(args),
    )
    bound: Application = decoder.bind(decoder_config(args, parts, pool, group, model, encoder))
    return bound


def deployment_name(kind: str, served: Registry, model: ServedModel) -> str:
    """The name of a model's deployment: the kind alone for the model that the server would have alone."""
    if model.name == served.alone:
        return kind
    plain = _plain(model)
    clash = [each for each in served.models if _plain(each) == plain]
    digest = hashlib.blake2b(model.name.encode(), digest_size=4).hexdigest()
    return f"{kind}-{plain}" if len(clash) == 1 else f"{kind}-{plain}-{digest}"


def _plain(model: ServedModel) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", model.name)


def _encoder_name(served: Registry, group: EncoderGroup) -> str:
    names = sorted(group.members, key=lambda model: (model.name != served.alone, model.name))
    return deployment_name(ENCODER, served, names[0])


def lifecycle(settings: Settings) -> dict[str, Any]:
    """Options of every deployment: health checks, and the time that a stopping replica has to finish requests."""
    return {
        "health_check_period_s": settings.health_check_s,
        "health_check_timeout_s": settings.health_check_timeout_s,
        "graceful_shutdown_wait_loop_s": DRAIN_POLL_S,
        "graceful_shutdown_timeout_s": settings.request_timeout_s,
    }


def _per_node(most: int | None) -> dict[str, Any]:
    return {} if most is None else {"max_replicas_per_node": most}


def cluster() -> Machine:
    """The resources of the Ray cluster if one is running, else of this machine."""
    import ray

    if not ray.is_initialized():
        return Machine.local()
    total: dict[str, float] = ray.cluster_resources()
    return Machine(cpus(), total.get("GPU", 0.0), int(total.get("object_store_memory", 2**30)))


def _actor(share: Share, nodes: str) -> dict[str, Any]:
    labels = dict(node_labels(nodes))
    where = {"label_selector": labels} if labels else {}
    return {"num_cpus": share.num_cpus, "num_gpus": share.num_gpus, **where}
