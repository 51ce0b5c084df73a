import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from deployments.resources import STORE_SHARE
from sam3_engine.spec import SPECS
from serve_app.capacity import UTILISATION, Costs, Demand, known_costs, load, most_rps, read_costs, size
from serve_app.cli.main import main

KNOWN = known_costs()
H200, TINY = KNOWN["h200"], KNOWN["tiny-cpu"]
COSTS = st.sampled_from(list(KNOWN.values()))
DEMANDS = st.builds(
    Demand,
    rps=st.floats(0.01, 1000),
    click_share=st.floats(0, 1),
    new_share=st.floats(0, 1),
    prompts=st.floats(1, 16),
    keep_s=st.floats(0, 3600),
)


@given(COSTS, DEMANDS)
def test_no_device_is_planned_beyond_the_utilisation(costs: Costs, demand: Demand) -> None:
    found = size(costs, demand)
    work = found.load
    most = UTILISATION + 1e-6
    assert work.encoders <= found.encoder_replicas * most
    if costs.device == "gpu":
        assert work.encoders + work.decoders <= found.shared_devices * most
        assert found.shared_devices <= found.devices
    else:
        assert work.ingress + work.encoders + work.decoders <= found.devices * most
    assert min(found.ingress_replicas, found.encoder_replicas, found.decoder_replicas, found.devices) >= 1


@given(COSTS, DEMANDS, st.floats(1, 10))
def test_more_load_never_needs_less(costs: Costs, demand: Demand, factor: float) -> None:
    one, more = size(costs, demand), size(costs, replace(demand, rps=demand.rps * factor))
    for name in ("ingress_replicas", "encoder_replicas", "decoder_replicas", "devices", "object_store_bytes"):
        assert getattr(one, name) <= getattr(more, name)


@given(COSTS, DEMANDS)
def test_images_fit_the_part_of_the_store_that_they_may_fill(costs: Costs, demand: Demand) -> None:
    found = size(costs, demand)
    assert (
        found.images * costs.embedding_bytes == found.warm_bytes <= STORE_SHARE * found.object_store_bytes + 1
    )


@given(DEMANDS)
def test_the_highest_rate_of_a_machine_fits_that_machine_and_no_higher_rate_does(demand: Demand) -> None:
    cores = 8
    rps = most_rps(TINY, demand, cores)
    assert size(TINY, replace(demand, rps=rps * 0.999)).devices <= cores
    assert size(TINY, replace(demand, rps=rps * 1.2)).devices > cores


def test_clicks_alone_encode_nothing() -> None:
    work = load(H200, Demand(rps=50, click_share=1))
    assert work.encoders == 0
    assert work.decoders == pytest.approx(50 * H200.click_s)
    assert size(H200, Demand(rps=50, click_share=1)).images == 0


def test_idle_cost_is_counted_once() -> None:
    idle = replace(TINY, idle_ingress=0.5, idle_model=0.25)
    assert load(idle).total == 1.0
    clicks, concepts = Demand(10, click_share=1), Demand(4, click_share=0, prompts=2)
    each = [load(idle, clicks).total, load(idle, concepts).total]
    assert load(idle, clicks, concepts).total == pytest.approx(sum(each) - 1.0)
    assert most_rps(idle, clicks, cores=2, utilisation=0.5) == 0, "busy with nothing"


def test_an_image_that_is_only_embedded_has_no_prompt() -> None:
    work = load(H200, Demand(10, click_share=0, prompts=0))
    assert work.encoders == pytest.approx(10 * H200.encode_s)
    assert work.decoders == pytest.approx(10 * H200.expand_s)


def test_prompts_cost_decoders_alone() -> None:
    one, sixteen = (load(H200, Demand(rps=5, click_share=0, prompts=prompts)) for prompts in (1, 16))
    assert one.encoders == sixteen.encoders
    assert one.ingress == sixteen.ingress
    assert sixteen.decoders - one.decoders == pytest.approx(5 * 15 * H200.concept_s)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rps": 0},
        {"rps": float("nan")},
        {"click_share": 1.1},
        {"new_share": -0.1},
        {"prompts": -1},
        {"keep_s": -1},
    ],
)
def test_impossible_loads_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"load|shares"):
        Demand(**{"rps": 1.0, **wrong})


def test_impossible_costs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finite"):
        replace(TINY, encode_s=-1.0)
    with pytest.raises(ValueError, match="same cores"):
        most_rps(H200, Demand(1), 2)
    figures = tmp_path / "figures.json"
    figures.write_text('{"mine": {"model": "tiny"}}')
    with pytest.raises(ValueError, match="mine"):
        read_costs(str(figures))


def test_estimated_costs_are_labelled() -> None:
    for costs in KNOWN.values():
        assert costs.source == "measured" or "measure" in costs.where, "and how to do better"
        assert costs.model in SPECS
        assert costs.where


@pytest.mark.parametrize(("costs", "value_bytes"), [(H200, 2), (TINY, 4)])
def test_an_embedding_weighs_what_the_models_shapes_say(costs: Costs, value_bytes: int) -> None:
    spec = SPECS[costs.model]
    grid, width = spec.grid, spec.d_model
    trunk = spec.vit_dim * grid**2
    clicks = width // 8 * (4 * grid) ** 2 + width // 4 * (2 * grid) ** 2 + width * grid**2
    assert costs.embedding_bytes == pytest.approx(value_bytes * (trunk + clicks), rel=0.01)


def test_the_command_prints_what_it_works_with() -> None:
    done = CliRunner().invoke(main, ["plan", "--rps", "100", "--click-share", "0.8"])
    assert done.exit_code == 0, done.output
    for part in ("GPUs", "object store", "SAM3_ENCODER_REPLICAS", "estimated"):
        assert part in done.output


def test_the_command_answers_in_json_too() -> None:
    done = CliRunner().invoke(main, ["plan", "--rps", "20", "--hardware", "tiny-cpu", "--json"])
    found = json.loads(done.output)
    assert found["sizing"]["devices"] == size(TINY, Demand(20, keep_s=600)).devices


@pytest.mark.parametrize("wrong", [["--rps", "0"], ["--rps", "1", "--hardware", "abacus"], []])
def test_the_command_refuses_nonsense(wrong: list[str]) -> None:
    done = CliRunner().invoke(main, ["plan", *wrong])
    assert done.exit_code == 2


@given(COSTS, DEMANDS, st.integers(1, 20), st.data())
def test_every_model_that_is_awake_has_a_decoder_and_every_trunk_an_encoder(
    costs: Costs, demand: Demand, models: int, data: st.DataObject
) -> None:
    trunks = data.draw(st.integers(1, models))
    one, several = size(costs, demand), size(costs, demand, models, trunks)
    assert several.decoder_replicas >= models
    assert several.encoder_replicas >= trunks
    assert several.devices >= one.devices
    assert several.load.total <= several.devices * UTILISATION + 1e-6 or costs.device == "gpu"


@pytest.mark.parametrize(("models", "trunks"), [(1, 2), (0, 0), (2, 0)])
def test_trunks_without_models_are_refused(models: int, trunks: int) -> None:
    with pytest.raises(ValueError, match="image encoder"):
        size(TINY, Demand(1), models, trunks)


def test_the_planner_counts_models() -> None:
    asked = ["plan", "--rps", "1", "--hardware", "h200", "--json", "--models", "9", "--trunks", "2"]
    found = json.loads(CliRunner().invoke(main, asked, catch_exceptions=False).output)["sizing"]
    assert (found["encoder_replicas"], found["decoder_replicas"], found["devices"]) == (2, 12, 5)
    refused = CliRunner().invoke(main, [*asked[:-1], "10"])
    assert refused.exit_code == 2
    assert "image encoder" in refused.output
