"""The memory that a process on a GPU may hold fits its share of the card."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deployments.model.memory import CONTEXT, FOOTPRINTS, GB, PASS_PROMPTS, Role, plan_memory
from deployments.resources import Machine, NotEnough, plan
from sam3_engine.device import Precision
from sam3_engine.loading import without_values
from sam3_engine.spec import GRAPHED_IMAGES, SPECS, GraphUse
from serve_app.capacity import known_costs
from serve_app.replica_numbers import wishes
from serve_app.settings import Settings
from tests.support.card_memory import SMALLEST_CARD, check_memory

HALF = Precision(torch.bfloat16, torch.bfloat16, torch.bfloat16, torch.bfloat16)
ROLES: list[Role] = ["encoder", "decoder"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", FOOTPRINTS)
def test_weights_are_planned_as_they_are(name: str, role: Role) -> None:
    counted = sum(one.nbytes for one in without_values(SPECS[name], role, HALF).parameters())
    planned = getattr(FOOTPRINTS[name], role)
    assert counted <= planned
    assert planned - counted <= max(0.05 * planned, 10e6)


@pytest.mark.parametrize("name", FOOTPRINTS)
def test_weights_that_only_videos_need_are_planned_as_they_are(name: str) -> None:
    with_them, without = (
        sum(one.nbytes for one in without_values(SPECS[name], "decoder", HALF, video=video).parameters())
        for video in (True, False)
    )
    planned = FOOTPRINTS[name].video
    assert 0 < with_them - without <= planned
    assert planned - (with_them - without) <= 10e6


def test_videos_take_their_part_of_a_decoders_memory_and_nothing_of_an_encoders() -> None:
    with_videos, without = (plan_memory("decoder", "sam3", 24 * GB, 0.5, video=one) for one in (True, False))
    assert with_videos.tracks > 0 == without.tracks
    assert with_videos.total <= 12 * GB
    assert with_videos.weights - without.weights == FOOTPRINTS["sam3"].video
    told = plan_memory("decoder", "sam3", 24 * GB, 0.5, hot=2 * GB, video=True)
    assert (told.hot, told.total <= 12 * GB) == (2 * GB, True)
    assert told.tracks > 0
    one, other = (plan_memory("encoder", "sam3", 24 * GB, 0.5, video=video) for video in (True, False))
    assert one == other


@given(
    role=st.sampled_from(ROLES),
    card=st.floats(8, 141),
    share=st.floats(0.1, 1),
    batch=st.integers(1, 64),
    hot=st.none() | st.floats(0, 20),
    exact=st.booleans(),
    video=st.booleans(),
    graphs=st.sampled_from(get_args(GraphUse)),
)
def test_a_plan_fits_its_share_or_there_is_none(
    role: Role,
    card: float,
    share: float,
    batch: int,
    hot: float | None,
    exact: bool,
    video: bool,
    graphs: GraphUse,
) -> None:
    room = int(card * GB)
    kept = None if hot is None else int(hot * GB)
    try:
        found = plan_memory(
            role, "sam3", room, share, batch=batch, hot=kept, exact=exact, video=video, graphs=graphs
        )
    except NotEnough:
        assert share * card < 4 + (hot or 0) * (1.25 if video else 1)
    else:
        assert found.total <= share * room + 1
        assert 1 <= found.batch <= batch
        assert found.hot == (0 if role == "encoder" else found.hot if kept is None else kept)
        if role == "decoder":
            assert found.batch in {1, 2, 4, 8, 16}


def test_graphs_of_encodes_take_the_place_of_images_in_a_batch() -> None:
    card = 3 * GB
    plain, graphed = (plan_memory("encoder", "sam3", card, 1, graphs=use) for use in ("decoders", "all"))
    assert (plain.batch - graphed.batch, plain.total) == (GRAPHED_IMAGES, graphed.total)
    one, other = (plan_memory("decoder", "sam3", 24 * GB, 1, graphs=use) for use in ("decoders", "all"))
    assert one == other


def test_more_memory_means_larger_passes_and_more_hot_images() -> None:
    plans = [plan_memory("decoder", "sam3", card * GB, 0.25) for card in (16, 24, 48, 80)]
    assert [one.batch for one in plans] == sorted(one.batch for one in plans)
    assert plans[0].batch < plans[-1].batch == PASS_PROMPTS
    assert plans[-1].hot > 5 * plans[0].hot


def test_a_card_that_is_too_small_is_refused_with_what_to_change() -> None:
    with pytest.raises(NotEnough, match=r"0\.1 of a GPU with 16 GB is too little for a decoder of sam3"):
        plan_memory("decoder", "sam3", 16 * GB, 0.1)
    with pytest.raises(NotEnough, match="or lower SAM3_HOT_BYTES"):
        plan_memory("decoder", "sam3", 24 * GB, 0.25, hot=5 * GB)


def test_a_gpu_node_with_one_card_of_24_gb_holds_all_its_processes() -> None:
    settings = Settings(profile="gpu-node", model="sam3", cuda_graphs="all")
    parts = plan(wishes(settings), Machine((16.0,), 1.0, 2**33))
    check_memory(settings, parts)
    encoder = plan_memory("encoder", "sam3", SMALLEST_CARD, parts.encoder.num_gpus, batch=16)
    decoder = plan_memory("decoder", "sam3", SMALLEST_CARD, parts.decoder.num_gpus)
    assert encoder.total + 2 * decoder.total <= SMALLEST_CARD
    assert decoder.hot >= 20 * known_costs()["h100"].hot_bytes
    assert encoder.total > CONTEXT


def test_settings_that_do_not_fit_a_card_are_refused() -> None:
    machine = Machine((16.0,), 1.0, 2**33)
    for settings in (
        Settings(profile="gpu-node", model="sam3", decoder_num_gpus=0.05),
        Settings(profile="gpu-node", model="sam3", encoder_batch_size=64),
        Settings(profile="gpu-node", model="sam3", hot_bytes="8GiB"),
    ):
        with pytest.raises(NotEnough):
            check_memory(settings, plan(wishes(settings), machine))
