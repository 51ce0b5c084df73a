"""The graph of deployments, from the settings.

    serve run serve_app.builder:build_app model=tiny
    serve deploy config.yaml          # import_path: serve_app.builder:build_app, args: {model: tiny}

`sam3-serve up` builds the same graph on a Ray cluster of its own.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.deployment import Application

from deployments.autoscaling import Rules
from deployments.config import (
    DECODER,
    ENCODER,
    INGRESS,
    Budget,
    DecoderConfig,
    EncoderConfig,
    EngineConfig,
    HedgeConfig,
    PoolConfig,
    VideoConfig,
)
from deployments.decoder.deployment import PromptDecoder
from deployments.encoder.deployment import ImageEncoder
from deployments.ingress.models import ModelRoute
from deployments.observe.tracing import TracingConfig
from deployments.ray.autoscaling import serve_options
from deployments.ray.nodes import cpus
from deployments.ray.router import LOAD_ROUTER, ROUTER
from deployments.resources import STORE_SHARE, Machine, Plan, Share, Wishes, plan
from sam3_engine.spec import SPECS, embedding_dtype
from serve_app.encoder_groups import EncoderGroup, encoder_groups
from serve_app.ingress import Ingress
from serve_app.models import Registry, ServedModel
from serve_app.settings import Auto, Settings
from serve_app.store import store_config
from serve_app.workflows import workflow_runner

APP_NAME = "sam3"
STATES_SHARE = 0.125
"""Part of the pool's bytes in the object store that videos' states may take; images have the rest."""
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
    routes: dict[str, ModelRoute] = {}
    for group in groups:
        name = _encoder_name(served, group)
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
    known = replace(pool, encoders=tuple(_encoder_name(served, each) for each in groups))
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
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", model.name)
    clash = [each for each in served.models if re.sub(r"[^A-Za-z0-9_.-]", "-", each.name) == plain]
    digest = hashlib.blake2b(model.name.encode(), digest_size=4).hexdigest()
    return f"{kind}-{plain}" if len(clash) == 1 else f"{kind}-{plain}-{digest}"


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


def pool_config(settings: Settings, machine: Machine) -> PoolConfig:
    """Limits of one shard of the pool."""
    shards = settings.pool_shards
    auto = int(machine.object_store_bytes * STORE_SHARE)
    warm = auto if settings.warm_bytes == "auto" else int(settings.warm_bytes)
    video = video_config(settings, warm)
    states = video.warm_bytes * shards if video else 0
    budget = Budget((warm - states) // shards, settings.idle_ttl_s)
    store = store_config(settings)
    label, _, value = settings.pool_nodes.partition("=")
    nodes = ((label, value),) if label else ()
    hedge = HedgeConfig(settings.hedge_after_s, settings.hedge_share)
    return PoolConfig(
        APP_NAME,
        shards,
        budget,
        settings.max_encodes,
        store,
        tracing=tracing(settings),
        nodes=nodes,
        hedge=hedge,
        video=video,
    )


def video_config(settings: Settings, warm: int) -> VideoConfig | None:
    """The sessions of videos; None where these are switched off. warm: bytes that the pool may have in the object
    store."""
    if not settings.tracks_videos:
        return None
    states = int(warm * STATES_SHARE) // settings.pool_shards
    return VideoConfig(settings.video_idle_s, int(settings.video_bytes), states)


def tracing(settings: Settings) -> TracingConfig | None:
    """The destination of spans; None switches tracing off."""
    return TracingConfig(settings.otlp_endpoint, settings.trace_ratio) if settings.otlp_endpoint else None


def encoder_config(settings: Settings, parts: Plan, group: EncoderGroup) -> EncoderConfig:
    """The part of the settings of a group's encoders."""
    return EncoderConfig(
        engine=_engine(settings, parts, parts.encoder, group, group.leader),
        batch_size=settings.encoder_batch_size,
        batch_wait_s=settings.encoder_batch_wait_s,
        max_image_pixels=settings.max_image_pixels,
        get_timeout_s=settings.get_timeout_s,
        tracing=tracing(settings),
    )


def decoder_config(
    settings: Settings,
    parts: Plan,
    pool: PoolConfig,
    group: EncoderGroup,
    model: ServedModel,
    encoder: str = ENCODER,
) -> DecoderConfig:
    """The part of the settings of a model's decoders. encoder: the deployment that encodes for it."""
    return DecoderConfig(
        engine=_engine(settings, parts, parts.decoder, group, model, video=pool.video is not None),
        pool=pool,
        batch_size=settings.decoder_batch_size,
        batch_wait_s=settings.decoder_batch_wait_s,
        hot_bytes=None if settings.hot_bytes == "auto" else int(settings.hot_bytes),
        get_timeout_s=settings.get_timeout_s,
        video=pool.video,
        model=model.identity,
        encoder=encoder,
    )


def _engine(
    settings: Settings,
    parts: Plan,
    share: Share,
    group: EncoderGroup,
    model: ServedModel,
    *,
    video: bool = False,
) -> EngineConfig:
    like = (group.leader.checkpoint, group.leader.base) if group.claims(model) else None
    return EngineConfig(
        model=model.architecture,
        checkpoint=model.checkpoint,
        base=model.base,
        encoder=None if model.architecture.endswith("-random") else group.digest,
        encodes_like=like,
        device="cuda" if share.num_gpus else "cpu",  # a replica sees only the GPU that Ray gives it
        dtype=_dtype(settings, parts, model),
        compile=settings.compile,
        threads=share.threads,
        compile_cache=str(settings.compile_cache) if settings.compile_cache else None,
        gpu_share=share.num_gpus,
        video=video,
    )


def _dtype(settings: Settings, parts: Plan, model: ServedModel) -> str:
    """The dtype of encoders and decoders alike: a decoder uses no embedding of another dtype than its own. `auto`
    follows the encoders' device, which does most of the work, and the model's size."""
    spec = SPECS[model.architecture.removesuffix("-random")]
    return embedding_dtype(settings.dtype, spec, encode_on_gpu=parts.encoder.num_gpus > 0)


def _actor(share: Share, nodes: str) -> dict[str, Any]:
    label, _, value = nodes.partition("=")
    where = {"label_selector": {label: value}} if label else {}
    return {"num_cpus": share.num_cpus, "num_gpus": share.num_gpus, **where}
