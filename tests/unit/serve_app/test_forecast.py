"""How long labelling takes, by measured costs."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from serve_app.capacity import known_costs
from serve_app.cli.main import main
from serve_app.forecast import TOGETHER, Images, labelling

KNOWN = known_costs()
H100, TINY = KNOWN["h100"], KNOWN["tiny-cpu"]
IMAGES = st.builds(
    Images, count=st.integers(1, 10**7), prompts=st.integers(1, 200), objects=st.floats(0, 100)
)


@given(st.sampled_from(list(KNOWN.values())), IMAGES, st.integers(1, 100))
def test_twice_the_devices_take_half_the_time_and_more_work_takes_longer(
    costs: object, images: Images, devices: int
) -> None:
    one = labelling(costs, images, devices)  # type: ignore[arg-type]
    two = labelling(costs, images, 2 * devices)  # type: ignore[arg-type]
    more = labelling(costs, replace(images, prompts=images.prompts + 1), devices)  # type: ignore[arg-type]
    assert two.hours == pytest.approx(one.hours / 2)
    assert more.hours > one.hours
    assert one.hours * 3600 * one.images_per_s == pytest.approx(images.count)


def test_two_million_images_on_32_gpus_follow_from_the_measured_parts() -> None:
    found = labelling(H100, Images(2_000_000, prompts=12), 32)
    assert found.device_s == pytest.approx(0.01304 + 0.0096 + 12 * 0.003)
    assert found.images_per_s == pytest.approx(32 * TOGETHER / found.device_s)
    assert 1 < found.hours < 2
    assert found.cores < 4 * 96


def test_a_concept_that_was_measured_alone_only_costs_what_it_costs_alone() -> None:
    alone = replace(H100, many_concepts_s=None)
    assert labelling(alone, Images(1, 2), 1).device_s == pytest.approx(0.01304 + 0.0096 + 2 * 0.0114)


def test_cores_that_run_the_model_read_the_images_too() -> None:
    found = labelling(TINY, Images(100, 12), 2)
    assert found.images_per_s == pytest.approx(2 * TOGETHER / (found.device_s + found.core_s))


def plan(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["plan", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_tells_hours_and_where_its_figures_are_from() -> None:
    told = plan("--images", "2000000", "--prompts", "12", "--gpus", "32", "--hardware", "h100")
    assert "1.2 hours" in told
    assert "not measured" in told
    document = json.loads(plan("--images", "1000", "--hardware", "tiny-cpu", "--cores", "8", "--json"))
    assert document["forecast"]["hours"] > 0


@pytest.mark.parametrize("arguments", [[], ["--rps", "1", "--images", "5"]])
def test_it_plans_one_of_two_things(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, ["plan", *arguments])
    assert done.exit_code == 2
    assert "either --rps" in done.output


@pytest.mark.parametrize("wrong", [{"count": 0}, {"prompts": 0}, {"objects": -1}, {"objects": float("nan")}])
def test_nothing_to_label_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least"):
        Images(**{"count": 1, "prompts": 1, **wrong})  # type: ignore[arg-type]
