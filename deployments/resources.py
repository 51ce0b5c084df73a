"""Each replica's share of the machine: the settings' `auto` values as numbers. Pure arithmetic."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Auto = Literal["auto"]

DECODER_GPU = 0.25
"""A decoder's share of a GPU."""
SMALLEST_GPU_SHARE = 0.1
WAITING_CPU = 0.1
"""Cores that Ray books for an ingress, which mostly waits, and for a workflow runner, whose work comes in bursts."""
GPU_PROCESS_CPU = 0.5
"""Cores that Ray books for a process whose model is on a GPU."""
EXACT = 1e-6
"""Added before a product is rounded down: in floating point, 100 * 0.29 is a little less than 29."""
STORE_SHARE = 0.6
"""Part of the object store that embeddings may fill: the rest is for images on their way and for readers."""


class NotEnough(ValueError):
    """The machine cannot hold the processes that the settings ask for."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Cores, GPUs and object store of Ray's nodes."""

    node_cpus: tuple[float, ...]
    """Cores of each node."""
    gpus: float
    """GPUs of all nodes."""
    object_store_bytes: int
    """Bytes of all nodes."""

    @property
    def cpus(self) -> float:
        """Cores of all nodes."""
        return sum(self.node_cpus)

    @classmethod
    def local(cls) -> "Machine":
        """This machine's cores, when no cluster is there to be asked."""
        return cls((float(os.cpu_count() or 1),), 0.0, 2**30)


@dataclass(frozen=True, slots=True)
class Wishes:
    """The settings that matter here."""

    device: str
    ingress_replicas: int
    encoder_replicas: int
    decoder_replicas: int
    workflow_replicas: int = 0
    ingress_per_node: int | None = None
    encoder_per_node: int | None = None
    decoder_per_node: int | None = None
    encoder_num_gpus: Auto | float = "auto"
    encoder_num_cpus: Auto | float = "auto"
    encoder_threads: Auto | int = "auto"
    decoder_num_gpus: Auto | float = "auto"
    decoder_num_cpus: Auto | float = "auto"
    decoder_threads: Auto | int = "auto"


@dataclass(frozen=True, slots=True)
class Share:
    """One replica's part. `threads`: torch's threads; None where the model runs on a GPU."""

    num_cpus: float
    num_gpus: float
    threads: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Every replica's part."""

    encoder: Share
    decoder: Share
    ingress_num_cpus: float = WAITING_CPU


def plan(wishes: Wishes, machine: Machine) -> Plan:
    """The resources of each process. Encoders get whole GPUs where there are enough, else the GPUs' rest beside the
    decoders. On CPUs all get an even share, and as many threads as that share has whole cores. Raises NotEnough."""
    on_gpu = wishes.device.startswith("cuda") or (wishes.device == "auto" and machine.gpus > 0)
    encoder_gpus, decoder_gpus = _gpus(wishes, machine) if on_gpu else (0.0, 0.0)
    even = _even(wishes, machine.node_cpus)
    share = min(GPU_PROCESS_CPU, even) if on_gpu else even
    # Where both shares are given, the machine may be small or not there yet: a cluster grows to what is asked for.
    if "auto" in (wishes.encoder_num_cpus, wishes.decoder_num_cpus):
        _check_limits(wishes, machine)
        if share <= 0:
            raise NotEnough(f"{machine.cpus:g} CPUs are too few for the replicas that the settings ask for")
    return Plan(
        encoder=_share(wishes.encoder_num_cpus, wishes.encoder_threads, encoder_gpus, share, on_gpu),
        decoder=_share(wishes.decoder_num_cpus, wishes.decoder_threads, decoder_gpus, share, on_gpu),
    )


def _even(wishes: Wishes, node_cpus: Sequence[float]) -> float:
    """The largest share of which every replica with a model finds one on one node; 0 if there is none. Ingresses and
    workflow runners book WAITING_CPU each: just enough over all nodes would leave gaps too small to use."""
    small = _hundredths(WAITING_CPU)
    nodes = [node for node in map(_hundredths, node_cpus) if node >= small]
    waiting = wishes.ingress_replicas + wishes.workflow_replicas
    replicas = wishes.encoder_replicas + wishes.decoder_replicas
    limited = wishes.ingress_per_node, wishes.encoder_per_node, wishes.decoder_per_node
    if not nodes or limited == (None, None, None):
        return _largest(nodes, waiting, replicas) / 100
    # A node that is full of one kind would have no room for the part of another that is to be there.
    reserved = small * (_most(wishes, "ingress") + wishes.workflow_replicas)
    if limited[1:] == (None, None):
        return _largest(nodes, 0, replicas, reserved) / 100
    here = _most(wishes, "encoder") + _most(wishes, "decoder")
    return max(0, (min(nodes) - reserved) // here) / 100


def _most(wishes: Wishes, kind: str) -> int:
    """The most replicas of a kind on one node."""
    replicas: int = getattr(wishes, f"{kind}_replicas")
    limit: int | None = getattr(wishes, f"{kind}_per_node")
    return min(replicas, limit or replicas)


def _check_limits(wishes: Wishes, machine: Machine) -> None:
    """Raises NotEnough where replicas would wait for ever for another node."""
    nodes = sum(cpus >= WAITING_CPU for cpus in machine.node_cpus)
    for kind in ("ingress", "encoder", "decoder"):
        replicas, limit = getattr(wishes, f"{kind}_replicas"), getattr(wishes, f"{kind}_per_node")
        if limit is not None and replicas > nodes * limit:
            raise NotEnough(
                f"too few nodes, {nodes}, for {replicas} {kind} replicas with at most {limit} on each: "
                f"raise SAM3_{kind.upper()}_PER_NODE or lower their number"
            )


def _largest(nodes: Sequence[int], waiting: int, replicas: int, reserved: int = 0) -> int:
    """The largest share of which there are so many, wherever the waiting processes are; 0 if there is none.

    In hundredths. reserved: the part of each node that shares must leave.
    """
    small = _hundredths(WAITING_CPU)
    shares = {
        (node - reserved - small * beside) // count
        for node in set(nodes)
        for beside in range(waiting + 1)
        for count in range(1, replicas + 1)
    }
    for share in sorted((share for share in shares if share > 0), reverse=True):
        left = all(node - share * min(replicas, node // share) >= reserved for node in nodes)
        if left and _places(share, nodes, waiting) >= replicas:
            return share
    return 0


def _places(share: int, nodes: Sequence[int], waiting: int) -> int:
    """Number of shares that there is room for, wherever the waiting processes are: at worst, where they take most."""
    small = _hundredths(WAITING_CPU)
    places = sum(node // share for node in nodes)
    if share < small:
        return places - waiting * math.ceil(small / share)
    # How many must meet on a node to take its first place, and each one after it.
    first = [node % share // small + 1 for node in nodes if node >= share]
    others = [share // small] * (places - len(first))
    for needed in sorted([*first, *others]):
        waiting -= needed
        if waiting < 0:
            break
        places -= 1
    return places


def _hundredths(share: float) -> int:
    """Never rounded up, but for what floating point has lost: the sum must fit."""
    return int(100 * share + EXACT)


def _share(num_cpus: Auto | float, threads: Auto | int, gpus: float, share: float, on_gpu: bool) -> Share:
    cpus = share if num_cpus == "auto" else num_cpus
    if threads != "auto":
        return Share(cpus, gpus, threads)
    return Share(cpus, gpus, None if on_gpu else max(1, int(cpus)))


def _gpus(wishes: Wishes, machine: Machine) -> tuple[float, float]:
    decoder = DECODER_GPU if wishes.decoder_num_gpus == "auto" else wishes.decoder_num_gpus
    if wishes.encoder_num_gpus != "auto":
        return wishes.encoder_num_gpus, decoder
    left = _hundredths((machine.gpus - wishes.decoder_replicas * decoder) / wishes.encoder_replicas) / 100
    if left < SMALLEST_GPU_SHARE:
        raise NotEnough(
            f"{machine.gpus:g} GPUs are too few for {wishes.encoder_replicas} encoders and "
            f"{wishes.decoder_replicas} decoders of {decoder:g} each: "
            "lower SAM3_DECODER_NUM_GPUS or the numbers of replicas"
        )
    # Ray gives a replica either part of one GPU or whole ones.
    return (1.0 if left >= 1 else left), decoder
