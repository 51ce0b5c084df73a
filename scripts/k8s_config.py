"""Writes the files of k8s/ that depend on the application's settings; `--check` only compares.

`serve.yaml` of the base and of overlays: the Serve configuration (serveConfigV2) of that variant's settings.
`base/environment.env`: the environment of Ray and Serve, as `sam3-serve up` sets it, for pods.
`monitoring/prometheusrule.yaml`: the rules, wrapped for the Prometheus operator.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deployments.config import DECODER, ENCODER, INGRESS
from deployments.model.memory import plan_memory
from deployments.resources import Machine, NotEnough, Plan, Share, plan
from serve_app.builder import APP_NAME, wishes
from serve_app.cli.ray_environment import PODS, SERVING, proxy
from serve_app.settings import Settings

K8S = Path(__file__).resolve().parents[1] / "k8s"
HEAD = (
    "# Written by `python -m scripts.k8s_config` from the application's settings: change the variant there.\n"
)

INGRESS_LABEL, ENCODER_LABEL, DECODER_LABEL, POOL_LABEL = (
    f"sam3/{role}" for role in ("ingress", "encoder", "decoder", "pool")
)
"""Labels of nodes that take ingress replicas, encoders, decoders, shards of the pool."""
NOWHERE = Machine(node_cpus=(), gpus=0, object_store_bytes=0)
"""The cluster when the application is built: there may be no worker yet. So a setting whose `auto` depends on the
machine must have a value."""

SMALLEST_CARD = 23_800_000_000
"""Bytes that a GPU sold as 24 GB shows to a program (an A10G)."""

GPU: dict[str, Any] = {
    "model": "sam3",
    "device": "cuda",
    "compile": True,
    "checkpoint": "/weights/sam3.pt",
    "api_keys_file": "/etc/sam3/keys.json",
    "encoder_num_gpus": 1,
    "encoder_num_cpus": 3,
    "decoder_num_gpus": 0.25,
    "decoder_num_cpus": 1,
    "pool_nodes": f"{POOL_LABEL}=true",
    "pool_shards": 2,
    "warm_bytes": "18GiB",
    "cold_bytes": "4GiB",
}

EVERYWHERE = "0.0.0.0"  # noqa: S104 - of a pod, behind its network policy
SERVICE = "sam3-serve-svc"
SERVICE_NAMES = [
    SERVICE,
    *(f"{SERVICE}.{suffix}" for suffix in ("sam3", "sam3.svc", "sam3.svc.cluster.local")),
]
"""Names of the Service within the cluster, for a server without keys."""
OFFLINE = {"HF_HUB_OFFLINE": "1"}
"""Weights come from the volume, with any settings: GPU pods reach no network."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One folder's Serve configuration."""

    folder: str
    settings: Mapping[str, Any]
    ingress_num_cpus: float = 1.5


OWN_NODES = {**GPU, "encoder_max_replicas": 4, "decoder_max_replicas": 16}
"""One encoder on a GPU, four decoders on another."""
ONE_POOL = {
    **GPU,
    "encoder_num_gpus": 0.5,
    "encoder_max_replicas": 4,
    "decoder_replicas": 2,
    "decoder_max_replicas": 8,
    "ingress_replicas": 4,
}
"""An encoder and two decoders on each GPU."""
IDLE_S = 900.0

VARIANTS = (
    Variant("base", {**OWN_NODES, "ingress_replicas": 4, "decoder_replicas": 4}),
    Variant("overlays/gpu", ONE_POOL),
    Variant(
        "overlays/ha",
        {
            **OWN_NODES,
            "ingress_replicas": 6,
            "encoder_replicas": 2,
            "decoder_replicas": 8,
            "warm_bytes": "36GiB",
        },
    ),
    # Ray's autoscaler does not count a node with embeddings as idle. Embeddings are deleted with the replicas.
    Variant("overlays/scale-to-zero", {**ONE_POOL, "scale_to_zero_after_s": IDLE_S, "idle_ttl_s": IDLE_S}),
    Variant("overlays/air-gapped", {**ONE_POOL, "image_urls": False}),
    Variant(
        "overlays/demo",
        {
            "model": "tiny",
            "device": "cpu",
            "allow_open": True,
            "allowed_hosts": SERVICE_NAMES,
            "encoder_num_cpus": 0.7,
            "decoder_num_cpus": 0.7,
            "pool_nodes": f"{POOL_LABEL}=true",
            "warm_bytes": "300MiB",
            "cold_bytes": "128MiB",
        },
        ingress_num_cpus=0.5,
    ),
)


@contextmanager
def no_settings_in_environment() -> Iterator[None]:
    """Removes settings from the environment, so that the written files depend on the variant alone."""
    kept = dict(os.environ)
    for name in [name for name in kept if name.upper().startswith("SAM3_")]:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


def settings_of(variant: Variant) -> Settings:
    """The variant's settings, and no others."""
    with no_settings_in_environment():
        return Settings(**variant.settings)


def serve_config(variant: Variant) -> dict[str, Any]:
    """The content of `serveConfigV2`: the application, its settings as arguments, and the nodes of each deployment."""
    settings = settings_of(variant)
    parts = plan(wishes(settings), NOWHERE)
    check_memory(settings, parts, SMALLEST_CARD)
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": EVERYWHERE, "port": settings.port},
        "applications": [
            {
                "name": APP_NAME,
                "route_prefix": "/",
                "import_path": "serve_app.builder:build_app",
                "args": settings.model_dump(mode="json", exclude_unset=True),
                "deployments": [
                    _deployment(INGRESS, Share(variant.ingress_num_cpus, 0, None), INGRESS_LABEL),
                    _deployment(ENCODER, parts.encoder, ENCODER_LABEL),
                    _deployment(DECODER, parts.decoder, DECODER_LABEL),
                ],
            }
        ],
    }


def check_memory(settings: Settings, parts: Plan, card: int) -> None:
    """Raises NotEnough where encoders or decoders do not fit their share of a GPU of `card` bytes."""
    hot = None if settings.hot_bytes == "auto" else int(settings.hot_bytes)
    exact = settings.dtype == "float32"
    if share := parts.encoder.num_gpus:
        batch = settings.encoder_batch_size
        found = plan_memory("encoder", settings.model, card, share, batch=batch, exact=exact)
        if found.batch < batch:
            raise NotEnough(f"{share:g} of a GPU takes {found.batch} images at once, fewer than {batch}")
    if share := parts.decoder.num_gpus:
        plan_memory("decoder", settings.model, card, share, hot=hot, exact=exact)


def _deployment(name: str, share: Share, label: str) -> dict[str, Any]:
    options = {"num_cpus": share.num_cpus, "num_gpus": share.num_gpus, "label_selector": {label: "true"}}
    return {"name": name, "ray_actor_options": {key: value for key, value in options.items() if value}}


class _Dumper(yaml.SafeDumper):
    """Dumps text of several lines as a block."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def as_yaml(document: Mapping[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=110)


def patch(variant: Variant) -> str:
    """The variant's configuration as a patch of the RayService."""
    return HEAD + as_yaml(
        {
            "apiVersion": "ray.io/v1",
            "kind": "RayService",
            "metadata": {"name": APP_NAME},
            "spec": {"serveConfigV2": as_yaml(serve_config(variant))},
        }
    )


def environment() -> str:
    """The pods' environment, as a file of lines."""
    with no_settings_in_environment():
        variables = {**SERVING, **proxy(Settings()), **PODS, **OFFLINE}
    return HEAD + "".join(f"{name}={value}\n" for name, value in sorted(variables.items()))


def rules() -> str:
    """The Prometheus rules as an object of the Prometheus operator."""
    groups = yaml.safe_load((K8S / "monitoring" / "rules.yaml").read_text(encoding="utf-8"))
    head = "# Written by `python -m scripts.k8s_config` from rules.yaml.\n"
    kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}
    return head + as_yaml({**kind, "metadata": {"name": APP_NAME}, "spec": groups})


def files() -> dict[Path, str]:
    """Every file to write, and its text."""
    written = {K8S / variant.folder / "serve.yaml": patch(variant) for variant in VARIANTS}
    return {
        **written,
        K8S / "base" / "environment.env": environment(),
        K8S / "monitoring" / "prometheusrule.yaml": rules(),
    }


def main() -> int:
    stale = [
        (path, text)
        for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        for path, _ in stale:
            print(
                f"{path.relative_to(K8S.parent)} is out of date: run python -m scripts.k8s_config",
                file=sys.stderr,
            )
        return bool(stale)
    for path, text in stale:
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
