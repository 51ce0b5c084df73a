from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.deployment import Application, Deployment, deployment_to_schema

from deployments.config import DECODER, ENCODER, INGRESS, DecoderConfig, EncoderConfig
from deployments.ray.router import ROUTER
from deployments.resources import Machine, NotEnough, Plan, plan
from deployments.workflows.deployment import WORKFLOWS
from serve_app.builder import build_app
from serve_app.encoder_groups import encoder_groups
from serve_app.model_file import read_models
from serve_app.models import Registry
from serve_app.replica_configs import decoder_config, encoder_config, pool_config
from serve_app.replica_numbers import wishes
from serve_app.settings import Settings
from serve_app.store import NoStore
from serve_app.workflows import NotInstalled

LAPTOP = Machine(node_cpus=(4,), gpus=0, object_store_bytes=10**9)
GPU_NODE = Machine(node_cpus=(16,), gpus=2, object_store_bytes=10**9)


@pytest.fixture(autouse=True)
def laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.builder.cluster", lambda: LAPTOP)
    monkeypatch.setenv("SAM3_STORE", "unix:///store")
    # Equal files encode alike.
    monkeypatch.setattr(
        "serve_app.encoder_groups.encoder_digests", lambda given: [str(each[1]) for each in given]
    )


def arguments(deployment: Deployment) -> tuple[Any, ...]:
    """The arguments of its class: Serve says that there is one at most."""
    given: tuple[Any, ...] = deployment.init_args
    return given


def deployments(app: Application) -> dict[str, Deployment]:
    """The graph's nodes by name. Serve says of a graph what it holds in private alone."""
    ingress = app._bound_deployment
    *_, models, workflows = arguments(ingress)
    bound = [*models.values(), *([workflows] if workflows else [])]
    parts = [part._bound_deployment for part in bound]
    return {part.name: part for part in (ingress, *parts)}


def configs(settings: Settings, parts: Plan, machine: Machine) -> tuple[EncoderConfig, DecoderConfig]:
    """Of the one model's encoders and decoders."""
    (group,) = encoder_groups(Registry.of(settings).models)
    pool = pool_config(settings, machine)
    encoder = encoder_config(settings, parts, group)
    return encoder, decoder_config(settings, parts, pool, group, group.leader)


def test_the_graph_is_an_ingress_in_front_of_encoders_and_decoders() -> None:
    graph = deployments(build_app(Settings(decoder_replicas=2, decoder_max_ongoing=9, max_queued=7)))
    assert graph.keys() == {INGRESS, ENCODER, DECODER}
    decoder = graph[DECODER]
    assert decoder.num_replicas == 2
    assert decoder.max_ongoing_requests == 9
    assert decoder.max_queued_requests == 7
    router = deployment_to_schema(decoder).request_router_config
    assert isinstance(router, RequestRouterConfig)
    assert router.request_router_class == ROUTER


def test_a_deployment_that_may_grow_is_scaled_by_the_policy() -> None:
    graph = deployments(build_app(Settings(decoder_max_replicas=3, decoder_queue_target=5)))
    assert graph[ENCODER].num_replicas == 1
    scaling = deployment_to_schema(graph[DECODER]).autoscaling_config
    assert isinstance(scaling, AutoscalingConfig)
    assert (scaling.min_replicas, scaling.initial_replicas, scaling.max_replicas) == (1, 1, 3)
    assert scaling.policy.policy_kwargs["queue_target"] == 5


def test_a_node_holds_no_more_replicas_of_a_kind_than_the_settings_allow() -> None:
    spread = deployments(build_app(Settings(ingress_per_node=1, encoder_per_node=2, decoder_per_node=3)))
    limits = {name: deployment_to_schema(part).max_replicas_per_node for name, part in spread.items()}
    assert limits == {INGRESS: 1, ENCODER: 2, DECODER: 3}
    anywhere = deployments(build_app(Settings())).values()
    assert not any(
        "max_replicas_per_node" in deployment_to_schema(part).model_fields_set for part in anywhere
    )


def test_cores_are_divided_among_as_many_replicas_as_there_may_be() -> None:
    fixed, growing = Settings(), Settings(decoder_max_replicas=3)
    assert plan(wishes(fixed), LAPTOP).decoder.num_cpus == 1.95
    assert plan(wishes(growing), LAPTOP).decoder.num_cpus == 0.97


def test_the_arguments_of_a_configuration_file_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3_ENCODER_REPLICAS", "2")
    settings = Settings.model_validate({"model": "tiny-random", "max_body_bytes": "1MiB"})
    assert (settings.model, settings.max_body_bytes, settings.encoder_replicas) == ("tiny-random", 2**20, 2)
    assert deployments(build_app(settings))[ENCODER].num_replicas == 2


def test_the_pools_budget_is_divided_among_its_shards() -> None:
    pool = pool_config(Settings(video=False, pool_shards=2, cold_bytes="100MB"), LAPTOP)
    assert pool.budget.warm_bytes == 300_000_000, "60 % of the object store"
    assert pool.store.cold_bytes == 100_000_000, "which all share"
    asked = pool_config(Settings(video=False, pool_shards=1, warm_bytes="1GB"), LAPTOP)
    assert asked.budget.warm_bytes == 10**9


def test_videos_have_a_part_of_the_pools_bytes_where_they_are_on() -> None:
    pool = pool_config(Settings(pool_shards=2, warm_bytes="1GB"), LAPTOP)
    assert pool.video is not None
    assert pool.video.warm_bytes == 62_500_000, "an eighth, divided among the shards"
    assert 2 * (pool.budget.warm_bytes + pool.video.warm_bytes) == 10**9


@pytest.mark.parametrize(
    ("settings", "on"),
    [
        ({}, True),
        ({"model": "tiny-random"}, True),
        ({"checkpoint": "mine.safetensors"}, False),
        ({"model": "sam3"}, False),
        ({"model": "sam3", "video": True}, True),
        ({"video": False}, False),
    ],
)
def test_only_decoders_that_track_load_what_videos_need(settings: dict[str, Any], on: bool) -> None:
    graph = deployments(build_app(Settings(**settings)))
    pool = arguments(graph[INGRESS])[1]
    decoder, encoder = (graph[name].init_args[0] for name in (DECODER, ENCODER))
    assert (pool.video is not None, decoder.video is not None, decoder.engine.video) == (on, on, on)
    assert not encoder.engine.video


def test_an_application_without_a_store_is_refused() -> None:
    with pytest.raises(NoStore, match="SAM3_STORE"):
        build_app(Settings(store=""))


def test_the_stores_password_is_not_shown() -> None:
    config = pool_config(Settings(store_password=SecretStr("hunter2")), LAPTOP).store
    assert config.password == "hunter2"
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(("machine", "device"), [(LAPTOP, "cpu"), (GPU_NODE, "cuda")])
def test_replicas_use_what_ray_gives_them(machine: Machine, device: str) -> None:
    settings = Settings(checkpoint=Path("weights"), dtype="float32", hot_bytes="2GiB")
    parts = plan(wishes(settings), machine)
    encoder, decoder = configs(settings, parts, machine)
    assert encoder.engine.device == decoder.engine.device == device
    assert encoder.engine.checkpoint == "weights"
    assert encoder.engine.dtype == "float32"
    assert decoder.hot_bytes == 2 * 2**30
    assert decoder.engine.gpu_share == parts.decoder.num_gpus
    assert (encoder.engine.threads is None) == (device == "cuda")


@pytest.mark.parametrize(
    ("machine", "settings", "dtype"),
    [
        (LAPTOP, {}, "float32"),
        (GPU_NODE, {}, "bfloat16"),
        (GPU_NODE, {"decoder_num_gpus": 0}, "bfloat16"),
        (GPU_NODE, {"encoder_num_gpus": 0}, "float32"),
        (GPU_NODE, {"decoder_num_gpus": 0, "dtype": "float32"}, "float32"),
    ],
)
def test_encoders_and_decoders_have_one_dtype(machine: Machine, settings: dict[str, Any], dtype: str) -> None:
    """Else no decoder could use an encoder's embeddings."""
    chosen = Settings(**settings)
    parts = plan(wishes(chosen), machine)
    encoder, decoder = configs(chosen, parts, machine)
    assert (encoder.engine.dtype, decoder.engine.dtype) == (dtype, dtype)


def test_workflows_have_a_deployment_of_their_own_where_they_are_switched_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve_app.workflows.find_spec", lambda name: object())
    runner = deployments(build_app(Settings(workflows=True, workflow_workers=3)))[WORKFLOWS]
    assert (runner.num_replicas, runner.max_ongoing_requests) == (1, 3 * 32)
    growing = deployments(build_app(Settings(workflows=True, workflow_replicas=4)))[WORKFLOWS]
    scaling = deployment_to_schema(growing).autoscaling_config
    assert isinstance(scaling, AutoscalingConfig)
    assert (scaling.min_replicas, scaling.max_replicas) == (1, 4)
    assert WORKFLOWS not in deployments(build_app(Settings()))


def test_workflows_without_the_extra_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.workflows.find_spec", lambda name: None)
    with pytest.raises(NotInstalled, match=r"sam3-serve\[workflows\]"):
        build_app(Settings(workflows=True))


def test_a_machine_that_is_too_small_is_refused() -> None:
    with pytest.raises(NotEnough):
        build_app(Settings(ingress_replicas=100))


SEVERAL = """
base: {architecture: tiny-random, replicas: 2, max_replicas: 4}
acme/cars/3: {architecture: tiny-random, replicas: 0}
pets: {architecture: tiny, checkpoint: "hf://nobody/pets", default: true, pinned: true}
"""


@pytest.fixture
def several() -> dict[str, Deployment]:
    return deployments(
        build_app(Settings(model="tiny-random", models=read_models(SEVERAL), scale_to_zero_after_s=60))
    )


def test_each_model_has_decoders_and_models_with_one_trunk_share_encoders(
    several: dict[str, Deployment],
) -> None:
    assert several.keys() == {
        INGRESS,
        ENCODER,
        DECODER,
        f"{DECODER}-acme-cars-3",
        f"{ENCODER}-pets",
        f"{DECODER}-pets",
    }
    encoders = {name: each.init_args[0].encoder for name, each in several.items() if DECODER in name}
    assert encoders == {
        DECODER: ENCODER,
        f"{DECODER}-acme-cars-3": ENCODER,
        f"{DECODER}-pets": f"{ENCODER}-pets",
    }
    assert arguments(several[INGRESS])[1].encoders == (ENCODER, f"{ENCODER}-pets")
    assert several[f"{ENCODER}-pets"].init_args[0].engine.checkpoint == "hf://nobody/pets"


def test_each_model_is_scaled_by_itself(several: dict[str, Deployment]) -> None:
    def replicas(name: str) -> tuple[int, int | None, int] | int | None:
        scaling = deployment_to_schema(several[name]).autoscaling_config
        if not isinstance(scaling, AutoscalingConfig):
            return several[name].num_replicas
        return scaling.min_replicas, scaling.initial_replicas, scaling.max_replicas

    assert replicas(DECODER) == (0, 2, 4)
    assert replicas(f"{DECODER}-acme-cars-3") == (0, 0, 1)
    assert replicas(f"{DECODER}-pets") == replicas(f"{ENCODER}-pets") == 1, "it is pinned"
    assert replicas(ENCODER) == (0, 1, 1)


def test_the_ingress_knows_the_default_first_and_which_models_it_needs(
    several: dict[str, Deployment],
) -> None:
    routes = arguments(several[INGRESS])[2]
    assert [(route.model[0], route.needed, route.may_sleep) for route in routes] == [
        ("pets", True, False),
        ("base", False, True),
        ("acme/cars/3", False, True),
    ]


def test_names_that_look_alike_in_a_deployments_name_stay_apart() -> None:
    text = "\n".join(
        f"{name}: {{architecture: tiny, default: {name == 'a'}}}" for name in ("a", "b/c", "b-c")
    )
    models = read_models(text)
    graph = deployments(build_app(Settings(models=models)))
    assert len([name for name in graph if name.startswith(DECODER)]) == 3


def test_all_models_replicas_share_the_machine() -> None:
    one = Settings(models=read_models("a: {architecture: tiny-random}\n"))
    two = Settings(models=read_models("a: {architecture: tiny, default: true}\nb: {architecture: tiny}\n"))
    shares = [plan(wishes(each), LAPTOP).decoder.num_cpus for each in (one, two)]
    assert shares == [1.95, 1.3]


def test_replicas_of_all_models_stay_on_their_nodes() -> None:
    where: dict[str, Any] = {"encoder_nodes": "sam3/encoder=true", "decoder_nodes": "sam3/decoder=true"}
    graph = deployments(build_app(Settings(model="tiny-random", models=read_models(SEVERAL), **where)))
    for name, each in graph.items():
        wanted = {ENCODER: {"sam3/encoder": "true"}, DECODER: {"sam3/decoder": "true"}}.get(
            name.partition("-")[0]
        )
        assert (deployment_to_schema(each).ray_actor_options.label_selector or None) == wanted, name


def test_a_further_model_restarts_no_decoder_or_encoder_of_the_others() -> None:
    shares: dict[str, Any] = {"encoder_num_cpus": 0.5, "decoder_num_cpus": 0.5, "model": "tiny-random"}
    text = "a: {architecture: tiny-random, default: true}\nb: {architecture: tiny-random}\n"
    more = f"{text}c: {{architecture: tiny, checkpoint: 'hf://nobody/c'}}\n"
    before, after = (
        deployments(build_app(Settings(models=read_models(each), **shares))) for each in (text, more)
    )
    assert after.keys() - before.keys() == {f"{ENCODER}-c", f"{DECODER}-c"}
    for name in (ENCODER, DECODER, f"{DECODER}-b"):
        assert before[name].init_args == after[name].init_args, name
        assert deployment_to_schema(before[name]) == deployment_to_schema(after[name]), name
