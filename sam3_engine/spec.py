"""The sizes of a SAM 3 model. One architecture, two specs: the official one and the bundled small one. No torch."""

from dataclasses import dataclass
from typing import Literal

LARGE = 50_000_000
"""Parameters of the image trunk from which half precision pays on a CPU. Small models stay exact."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The parameters of `assembly.build_model`.

    The defaults are those of `facebook/sam3` as `sam3.model_builder.build_sam3_image_model` sets them.
    """

    name: str = "sam3"
    image_size: int = 1008
    """Side of the square that images are resized to, in pixels."""
    patch_size: int = 14
    pretrain_image_size: int = 336
    vit_dim: int = 1024
    vit_depth: int = 32
    vit_heads: int = 16
    vit_mlp_ratio: float = 4.625
    vit_window: int = 24
    vit_global_blocks: tuple[int, ...] = (7, 15, 23, 31)
    vit_drop_path: float = 0.1
    d_model: int = 256
    heads: int = 8
    ffn_dim: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 6
    geometry_layers: int = 3
    queries: int = 200
    click_heads: int = 8
    """Attention heads of the click decoder. Its cross-attention halves the width, so a narrow model needs few heads."""
    memories: int = 6
    """Tracked frames before the present one that an object of a video attends to."""
    one_to_many: bool = True
    """Training adds one-to-many queries (DAC); inference never uses them."""
    text_dim: int = 1024
    text_heads: int = 16
    text_layers: int = 24
    dropout: float = 0.1
    layout: int = 2
    """Version of the compact embedding's layout. A change makes every stored embedding unusable."""

    @property
    def grid(self) -> int:
        """Side of the trunk's feature map, in patches."""
        return self.image_size // self.patch_size

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution mask logits, in cells."""
        return 4 * self.grid

    @property
    def large(self) -> bool:
        """True for a trunk whose blocks' matrices hold LARGE parameters or more."""
        return self.vit_depth * (4 + 2 * self.vit_mlp_ratio) * self.vit_dim**2 >= LARGE


SAM3 = ModelSpec()

TINY = ModelSpec(
    name="tiny",
    image_size=336,
    pretrain_image_size=112,
    vit_dim=128,
    vit_depth=6,
    vit_heads=4,
    vit_mlp_ratio=3.0,
    vit_window=8,
    vit_global_blocks=(2, 5),
    vit_drop_path=0.0,
    d_model=64,
    heads=4,
    ffn_dim=192,
    encoder_layers=2,
    decoder_layers=3,
    geometry_layers=2,
    queries=25,
    click_heads=2,
    memories=3,
    one_to_many=False,
    text_dim=64,
    text_heads=4,
    text_layers=2,
    dropout=0.0,
)

SPECS = {spec.name: spec for spec in (SAM3, TINY)}

EmbeddingDtype = Literal["float32", "bfloat16"]

GraphUse = Literal["none", "decoders", "all"]
"""The passes that run as CUDA graphs on a GPU: none, the decoders', or also encodes of few images."""
GRAPHED_IMAGES = 2
"""Most images of an encode that may be a graph. The device takes longer for more than the host takes to start their
kernels, and a graph holds the memory of its whole pass."""


def embedding_dtype(name: str, spec: ModelSpec, *, encode_on_gpu: bool) -> EmbeddingDtype:
    """The number format of a model's embeddings. It is part of the embeddings' version, so encoders and decoders must
    agree on it, whatever devices they run on.

    name: "float32", "bfloat16", or "auto": bfloat16 where encoders have a GPU and for large models, float32 else.
    Raises ValueError for another name.
    """
    if name == "auto":
        return "bfloat16" if encode_on_gpu or spec.large else "float32"
    if name == "float32":
        return "float32"
    if name == "bfloat16":
        return "bfloat16"
    raise ValueError(f"dtype {name!r}: choose auto, float32, bfloat16")
