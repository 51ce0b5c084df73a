from dataclasses import replace

import pytest

from deployments.resources import INGRESS_CPU, Machine, NotEnough, Wishes, plan

ONE = Wishes(device="auto", ingress_replicas=1, encoder_replicas=1, decoder_replicas=1)


def machine(cpus: float = 2, gpus: float = 0) -> Machine:
    return Machine(cpus, gpus, 2**30)


@pytest.mark.parametrize("cpus", [1, 2, 4, 16, 64])
@pytest.mark.parametrize("gpus", [0, 1, 2, 8])
@pytest.mark.parametrize("decoders", [1, 3])
def test_everything_fits(cpus: int, gpus: int, decoders: int) -> None:
    wishes = replace(ONE, decoder_replicas=decoders)
    found = plan(wishes, machine(cpus, gpus))
    used_cpus = found.encoder.num_cpus + decoders * found.decoder.num_cpus + INGRESS_CPU
    assert used_cpus <= cpus
    assert found.encoder.num_gpus + decoders * found.decoder.num_gpus <= gpus
    assert found.encoder.num_cpus > 0
    assert found.decoder.num_cpus > 0


def test_on_cpus_each_gets_the_threads_of_its_share() -> None:
    found = plan(ONE, machine(16))
    assert found.encoder.num_cpus == found.decoder.num_cpus == pytest.approx(7.95)
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


def test_what_is_asked_for_is_given() -> None:
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
