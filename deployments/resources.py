"""Who gets how much of the machine: the settings' `auto` values, worked out. Pure arithmetic."""

import os
from dataclasses import dataclass
from typing import Literal

Auto = Literal["auto"]

DECODER_GPU = 0.25
"""A decoder's share of a GPU."""
SMALLEST_GPU_SHARE = 0.1
INGRESS_CPU = 0.1
"""What Ray books for an ingress: it mostly waits."""
WORKFLOW_CPU = 0.1
"""What Ray books for a workflow runner: its work comes in bursts, beside the model's."""
GPU_PROCESS_CPU = 0.5
"""What Ray books for a process whose model is on a GPU."""
STORE_SHARE = 0.6
"""Part of the object store that embeddings may fill: the rest is for images on their way and for readers."""


class NotEnough(ValueError):
    """The machine cannot hold what the settings ask for."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What Ray has to give, over all its nodes."""

    cpus: float
    gpus: float
    object_store_bytes: int

    @classmethod
    def local(cls) -> "Machine":
        """This machine's cores, when no cluster is there to be asked."""
        return cls(float(os.cpu_count() or 1), 0.0, 2**30)


@dataclass(frozen=True, slots=True)
class Wishes:
    """The settings that matter here."""

    device: str
    ingress_replicas: int
    encoder_replicas: int
    decoder_replicas: int
    workflow_replicas: int = 0
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
    ingress_num_cpus: float = INGRESS_CPU


def plan(wishes: Wishes, machine: Machine) -> Plan:
    """Encoders get whole GPUs where there are enough, else what the decoders leave; on CPUs all get an even
    share, and as many threads as that share has whole cores. Raises NotEnough."""
    on_gpu = wishes.device.startswith("cuda") or (wishes.device == "auto" and machine.gpus > 0)
    encoder_gpus, decoder_gpus = _gpus(wishes, machine) if on_gpu else (0.0, 0.0)
    waiting = wishes.ingress_replicas * INGRESS_CPU + wishes.workflow_replicas * WORKFLOW_CPU
    cpus_left = machine.cpus - waiting
    even = _floor(cpus_left / (wishes.encoder_replicas + wishes.decoder_replicas))
    share = min(GPU_PROCESS_CPU, even) if on_gpu else even
    # Where both shares are given, the machine may be small or not there yet: a cluster grows to what is asked for.
    if share <= 0 and "auto" in (wishes.encoder_num_cpus, wishes.decoder_num_cpus):
        raise NotEnough(f"{machine.cpus:g} CPUs are too few for the replicas that the settings ask for")
    return Plan(
        encoder=_share(wishes.encoder_num_cpus, wishes.encoder_threads, encoder_gpus, share, on_gpu),
        decoder=_share(wishes.decoder_num_cpus, wishes.decoder_threads, decoder_gpus, share, on_gpu),
    )


def _share(num_cpus: Auto | float, threads: Auto | int, gpus: float, share: float, on_gpu: bool) -> Share:
    cpus = share if num_cpus == "auto" else num_cpus
    if threads != "auto":
        return Share(cpus, gpus, threads)
    return Share(cpus, gpus, None if on_gpu else max(1, int(cpus)))


def _gpus(wishes: Wishes, machine: Machine) -> tuple[float, float]:
    decoder = DECODER_GPU if wishes.decoder_num_gpus == "auto" else wishes.decoder_num_gpus
    if wishes.encoder_num_gpus != "auto":
        return wishes.encoder_num_gpus, decoder
    left = _floor((machine.gpus - wishes.decoder_replicas * decoder) / wishes.encoder_replicas)
    if left < SMALLEST_GPU_SHARE:
        raise NotEnough(
            f"{machine.gpus:g} GPUs are too few for {wishes.encoder_replicas} encoders and "
            f"{wishes.decoder_replicas} decoders of {decoder:g} each: "
            "lower SAM3_DECODER_NUM_GPUS or the numbers of replicas"
        )
    # Ray gives a replica either part of one GPU or whole ones.
    return (1.0 if left >= 1 else left), decoder


def _floor(value: float) -> float:
    """Two decimals, never rounded up: the sum must fit."""
    return int(value * 100) / 100
