"""The settings that each deployment needs, already resolved. `auto` is left only where a device has to answer it."""

from dataclasses import dataclass, field

from deployments.observe.tracing import TracingConfig
from sam3_engine.spec import GraphUse

ENCODER = "ImageEncoder"
DECODER = "PromptDecoder"
INGRESS = "Ingress"
"""Names of the deployments."""


ModelName = tuple[str, str]
"""A served model: its name, and the source of its weights."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The model that a process loads, its device and its precision.

    `dtype` is one for encoders and decoders. `threads`: torch threads of this process; None leaves torch's choice.
    `checkpoint`, `base`: see `sam3_engine.loading.read_weights`.
    """

    model: str
    checkpoint: str | None
    device: str
    dtype: str
    compile: bool
    threads: int | None
    gpu_share: float = 0.0
    """Part of its GPU that this process may use."""
    compile_cache: str | None = None
    """Folder of compiled code; None: torch's own."""
    cuda_graphs: GraphUse = "decoders"
    float8: bool = False
    """The trunk's linear layers compute in float8: of encoders and their decoders alike."""
    base: str | None = None
    """Weights that a fine-tune or an adapter is laid over; None: the model's own."""
    video: bool = False
    """Load also what only videos need: the parts that remember earlier frames. An encoder has none."""
    encoder: str | None = None
    """`Engine.weights.encoder` of the model, where it is known: the replica refuses to start with another one."""
    encodes_like: tuple[str | None, str | None] | None = None
    """Checkpoint and base of the model whose encoder this one uses, where the operator says that both encode alike:
    the replica refuses to start where they do not."""


@dataclass(frozen=True, slots=True)
class HedgeConfig:
    """Limits of hedging, which sends a slow call to a second replica too.

    after_s: seconds that a call waits at least before its hedge. share: hedges for each call, at most; 0: none.
    """

    after_s: float
    share: float


MOST_IMAGES = 100_000


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """The server of the store, and the limits of its contents."""

    url: str
    """`unix:///path`, `valkey://host:port/0`, or `valkeys://` with TLS; `redis` and `rediss` mean the same."""
    cold_bytes: int
    """Image files of all tenants."""
    idle_ttl_s: float
    """Seconds for which an image is kept that nobody asks for."""
    password: str = field(default="", repr=False)
    password_file: str | None = None
    ca_file: str | None = None
    prefix: str = "sam3"
    """Begins all keys, in braces."""
    most_images: int = MOST_IMAGES
    """Images, and chosen ids, of one tenant. Beyond it the images that were asked for longest ago are forgotten."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes of embeddings that one shard may hold in the object store, and seconds that it holds an unused one."""

    warm_bytes: int
    idle_ttl_s: float


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """Sessions of videos. idle_s: how long one lives that nobody asks for. nbytes: of all sessions in the store.
    warm_bytes: of the trackers' states that one shard of the pool holds."""

    idle_s: float
    nbytes: int
    warm_bytes: int


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """The pool's limits, for each shard, and the store. `app`: the Serve application whose encoders it calls."""

    app: str
    shards: int
    budget: Budget
    max_encodes: int
    store: StoreConfig
    encoders: tuple[str, ...] = ()
    """The deployments of encoders, as the ingress knows them. Decoders leave them out: a further model changes nothing
    about them, and so restarts none."""
    tracing: TracingConfig | None = None
    nodes: tuple[tuple[str, str], ...] = ()
    """Labels of the nodes that may hold shards; none: any node."""
    hedge: HedgeConfig = HedgeConfig(0.5, 0.0)
    """Limits of hedging for callers of encoders or decoders."""
    video: VideoConfig | None = None
    """The first shard ends idle sessions. None: this server tracks no videos."""


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """An image encoder."""

    engine: EngineConfig
    batch_size: int
    batch_wait_s: float
    max_image_pixels: int
    """Most pixels of an image that is decoded again from its source."""
    get_timeout_s: float
    tracing: TracingConfig | None = None


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """A prompt decoder."""

    engine: EngineConfig
    pool: PoolConfig
    batch_size: int
    batch_wait_s: float
    hot_bytes: int | None
    """None: the part of this replica's share of its GPU that weights and work leave; 1 GiB on a CPU."""
    get_timeout_s: float
    video: VideoConfig | None = None
    """None: this decoder tracks no videos, and loads nothing for it."""
    model: ModelName | None = None
    """The model that it answers for; None: any."""
    encoder: str = ENCODER
    """The deployment that encodes images for it."""
