import itertools
import math
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from deployments.resources import WAITING_CPU, Machine, NotEnough, Wishes, plan

ONE = Wishes(device="auto", ingress_replicas=1, encoder_replicas=1, decoder_replicas=1)


def machine(cpus: float = 2, gpus: float = 0) -> Machine:
    return Machine((cpus,), gpus, 2**30)


@pytest.mark.parametrize("cpus", [1, 2, 4, 16, 64])
@pytest.mark.parametrize("gpus", [0, 1, 2, 8])
@pytest.mark.parametrize("decoders", [1, 3])
def test_everything_fits(cpus: int, gpus: int, decoders: int) -> None:
    wishes = replace(ONE, decoder_replicas=decoders)
    found = plan(wishes, machine(cpus, gpus))
    used_cpus = found.encoder.num_cpus + decoders * found.decoder.num_cpus + WAITING_CPU
    assert used_cpus <= cpus
    assert found.encoder.num_gpus + decoders * found.decoder.num_gpus <= gpus
    assert found.encoder.num_cpus > 0
    assert found.decoder.num_cpus > 0


@pytest.mark.parametrize("cpus", [(2, 2), (4, 1), (3, 2, 1), (0, 4), (1, 1, 1, 1), (0.5, 8), (2,) * 4])
@pytest.mark.parametrize("encoders", [1, 2, 4])
@pytest.mark.parametrize("ingresses", [1, 2, 3])
def test_a_replica_finds_its_share_on_one_node_wherever_the_ingresses_are(
    cpus: tuple[float, ...], encoders: int, ingresses: int
) -> None:
    wishes = replace(ONE, encoder_replicas=encoders, ingress_replicas=ingresses)
    share = plan(wishes, Machine(cpus, 0, 2**30)).encoder.num_cpus
    for where in itertools.combinations_with_replacement(range(len(cpus)), ingresses):
        free = [node - WAITING_CPU * where.count(place) + 1e-9 for place, node in enumerate(cpus)]
        if min(free) >= 0:
            assert sum(node // share for node in free) >= encoders + 1


@pytest.mark.parametrize("cpus", [(2, 2), (2, 3), (4, 1), (0, 4, 4), (10, 2), (1, 1, 1, 1)])
@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("limited", [("ingress",), ("encoder", "decoder"), ("ingress", "encoder", "decoder")])
def test_everything_finds_its_place_in_whatever_order_where_a_node_holds_so_many_of_a_kind(
    cpus: tuple[float, ...], replicas: int, limited: tuple[str, ...]
) -> None:
    kinds = ("ingress", "encoder", "decoder")
    most = {f"{kind}_per_node": math.ceil(replicas / 2) for kind in limited}
    changes: dict[str, Any] = {f"{kind}_replicas": replicas for kind in kinds} | most
    wishes = replace(ONE, **changes)
    found = plan(wishes, Machine(cpus, 0, 2**30))
    books = dict(zip(kinds, (WAITING_CPU, found.encoder.num_cpus, found.decoder.num_cpus), strict=True))
    chance = random.Random(1)
    for _ in range(200):
        free, there = list(cpus), [Counter[str]() for _ in cpus]
        for kind in chance.sample(kinds * replicas, 3 * replicas):
            fits = [
                place
                for place, left in enumerate(free)
                if left >= books[kind] - 1e-9 and there[place][kind] < most.get(f"{kind}_per_node", replicas)
            ]
            assert fits, f"{kind} of {books} finds no place on {free} with {there}"
            chosen = chance.choice(fits)
            free[chosen] -= books[kind]
            there[chosen][kind] += 1


def test_a_node_too_few_for_what_one_may_hold_is_said() -> None:
    wishes = replace(ONE, encoder_replicas=2, encoder_per_node=1)
    with pytest.raises(NotEnough, match=r"too few nodes, 1.*SAM3_ENCODER_PER_NODE"):
        plan(wishes, machine(4))
    growing = replace(wishes, encoder_num_cpus=1.0, decoder_num_cpus=1.0)
    assert plan(growing, machine(4)).encoder.num_cpus == 1.0


def test_little_is_left_for_that() -> None:
    two = replace(ONE, ingress_replicas=2, encoder_replicas=2, decoder_replicas=2)
    assert plan(two, Machine((2, 2), 0, 2**30)).encoder.num_cpus == 0.85
    assert plan(two, Machine((4,), 0, 2**30)).encoder.num_cpus == 0.92


def test_an_ingress_that_stops_and_the_next_one_leave_each_replica_its_share() -> None:
    """Otherwise a decoder would wait for the cores of an ingress that waits for the decoder."""
    for decoders in (1, 2, 3):
        share = plan(replace(ONE, decoder_replicas=decoders), machine(2)).decoder.num_cpus
        assert share * (1 + decoders) + 2 * WAITING_CPU <= 2


def test_many_small_nodes_are_not_given_up() -> None:
    wishes = replace(ONE, ingress_replicas=20, encoder_replicas=10, decoder_replicas=10)
    assert plan(wishes, Machine((2.0,) * 20, 0, 2**30)).encoder.num_cpus >= 1


def test_on_cpus_each_gets_the_threads_of_its_share() -> None:
    found = plan(ONE, machine(16))
    assert found.encoder.num_cpus == found.decoder.num_cpus == pytest.approx(7.9)
    assert found.encoder.threads == found.decoder.threads == 7
    assert plan(ONE, machine(2)).encoder.threads == 1
    assert found.encoder.num_gpus == 0


def test_an_encoder_gets_a_whole_gpu_where_there_are_enough() -> None:
    found = plan(ONE, machine(16, 2))
    assert (found.encoder.num_gpus, found.decoder.num_gpus) == (1.0, 0.25)
    assert found.encoder.threads is None


def test_on_one_gpu_the_encoder_gets_what_the_decoders_leave() -> None:
    found = plan(replace(ONE, decoder_replicas=2), machine(16, 1))
    assert (found.encoder.num_gpus, found.decoder.num_gpus) == (0.5, 0.25)


def test_a_cpu_device_leaves_gpus_alone() -> None:
    found = plan(replace(ONE, device="cpu"), machine(16, 4))
    assert (found.encoder.num_gpus, found.decoder.num_gpus) == (0, 0)
    assert found.encoder.threads == 7


def test_resources_that_are_asked_for_are_given() -> None:
    asked = replace(
        ONE,
        encoder_num_gpus=2.0,
        decoder_num_gpus=0.5,
        encoder_num_cpus=3.0,
        encoder_threads=5,
        decoder_threads=2,
    )
    found = plan(asked, machine(16, 4))
    assert (found.encoder.num_gpus, found.encoder.num_cpus, found.encoder.threads) == (2.0, 3.0, 5)
    assert (found.decoder.num_gpus, found.decoder.threads) == (0.5, 2)


@pytest.mark.parametrize(
    ("wishes", "has"),
    [
        (replace(ONE, decoder_replicas=4), machine(16, 1)),
        (replace(ONE, device="cuda"), machine(16, 0)),
        (replace(ONE, ingress_replicas=20), machine(2)),
    ],
)
def test_a_machine_that_is_too_small_says_so(wishes: Wishes, has: Machine) -> None:
    with pytest.raises(NotEnough, match="too few"):
        plan(wishes, has)
