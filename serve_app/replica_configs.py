"""The part of the settings that replicas of each deployment get."""

from deployments.config import (
    ENCODER,
    Budget,
    DecoderConfig,
    EncoderConfig,
    EngineConfig,
    HedgeConfig,
    PoolConfig,
    VideoConfig,
)
from deployments.observe.tracing import TracingConfig
from deployments.resources import STORE_SHARE, Machine, Plan, Share
from sam3_engine.spec import SPECS, embedding_dtype
from serve_app.encoder_groups import EncoderGroup
from serve_app.models import ServedModel
from serve_app.settings import Settings
from serve_app.store import store_config

APP_NAME = "sam3"
STATES_SHARE = 0.125
"""Part of the pool's bytes in the object store that videos' states may take; images have the rest."""


def node_labels(setting: str) -> tuple[tuple[str, str], ...]:
    """The labels of the nodes of a setting, `LABEL=VALUE`: one, or none where it is empty."""
    label, _, value = setting.partition("=")
    return ((label, value),) if label else ()


def pool_config(settings: Settings, machine: Machine) -> PoolConfig:
    """Limits of one shard of the pool."""
    shards = settings.pool_shards
    auto = int(machine.object_store_bytes * STORE_SHARE)
    warm = auto if settings.warm_bytes == "auto" else int(settings.warm_bytes)
    video = video_config(settings, warm)
    states = video.warm_bytes * shards if video else 0
    budget = Budget((warm - states) // shards, settings.idle_ttl_s)
    store = store_config(settings)
    hedge = HedgeConfig(settings.hedge_after_s, settings.hedge_share)
    return PoolConfig(
        APP_NAME,
        shards,
        budget,
        settings.max_encodes,
        store,
        tracing=tracing(settings),
        nodes=node_labels(settings.pool_nodes),
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
        cuda_graphs=settings.cuda_graphs,
        float8=settings.float8,
        gpu_share=share.num_gpus,
        video=video,
    )


def _dtype(settings: Settings, parts: Plan, model: ServedModel) -> str:
    """The dtype of encoders and decoders alike: a decoder uses no embedding of another dtype than its own. `auto`
    follows the encoders' device, which does most of the work, and the model's size."""
    spec = SPECS[model.architecture.removesuffix("-random")]
    return embedding_dtype(settings.dtype, spec, encode_on_gpu=parts.encoder.num_gpus > 0)
