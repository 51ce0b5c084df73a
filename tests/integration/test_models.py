"""Three models in one server: the bundled one, a fine-tune with its trunk, and one with a trunk of its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from harness import exposed
from harness.server import ServerProcess, server_process
from harness.waiting import wait_until
from sam3_engine.sdk import Sam3Prompt, SegmentAnything3
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, numbered
from training.siblings import WORD, model_of_another_trunk, model_of_one_trunk

NAMES = ("base", "acme/shapes/2", "other")
DECODERS = dict(
    zip(NAMES, ("PromptDecoder", "PromptDecoder-acme-shapes-2", "PromptDecoder-other"), strict=True)
)
PHRASES = ("red circle", "blue square", f"{WORD} square")
QUIET_S = 5


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    folder = tmp_path_factory.mktemp("weights")
    head = model_of_one_trunk(folder / "head.safetensors")
    trunk = model_of_another_trunk(folder / "trunk.safetensors")
    return dict(zip(NAMES, (None, str(head), str(trunk)), strict=True))


@pytest.fixture(scope="module")
def server(
    weights: dict[str, str | None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("models")
    file = folder / "models.yaml"
    file.write_text(
        "base: {architecture: tiny, default: true}\n"
        f"acme/shapes/2: {{architecture: tiny, checkpoint: {weights['acme/shapes/2']}}}\n"
        f"other: {{architecture: tiny, checkpoint: {weights['other']}, replicas: 0, sleep_after_s: 8}}\n"
    )
    with server_process(folder, models=str(file), scale_interval_s="0.5") as running:
        yield running


def ask(server: ServerProcess, model: str | None, number: int) -> requests.Response:
    body = {
        "image": as_json(numbered(number)),
        "prompts": [{"type": "text", "text": phrase} for phrase in PHRASES],
        "output_prob_thresh": 0.3,
        "format": "rle",
        **({"model_id": model} if model else {}),
    }
    return requests.post(f"{server.url}/sam3/concept_segment", json=body, timeout=PATIENCE_S)


def scores(document: Any) -> list[list[float]]:
    return [[one["confidence"] for one in result["predictions"]] for result in document["prompt_results"]]


def engines_scores(checkpoint: str | None, numbers: range) -> dict[int, list[list[float]]]:
    """The answers of the engine alone."""
    model = SegmentAnything3(model="tiny", checkpoint=checkpoint)
    prompts = [Sam3Prompt(type="text", text=phrase) for phrase in PHRASES]
    return {
        number: [
            [one.confidence for one in result.predictions]
            for result in model.segment_image(
                numbered(number), prompts=prompts, output_prob_thresh=0.3, format="rle"
            ).prompt_results
        ]
        for number in numbers
    }


def states(server: ServerProcess) -> dict[str, str]:
    found = requests.get(f"{server.url}/models", timeout=PATIENCE_S).json()["models"]
    return {one["name"]: one["state"] for one in found}


def encodes(server: ServerProcess) -> float:
    return exposed.settled_metric(server.url, "sam3_images_encoded_total", quiet_s=QUIET_S)


def test_a_sleeping_model_wakes_for_a_request_and_only_models_with_one_trunk_share_an_encode(
    server: ServerProcess,
) -> None:
    wait_until(lambda: states(server)["other"] == "asleep")
    wait_until(lambda: not server.named("ServeReplica:sam3:ImageEncoder-other"))
    assert states(server) == {"base": "ready", "acme/shapes/2": "ready", "other": "asleep"}
    running = {name: len(server.named(f"ServeReplica:sam3:{title}")) for name, title in DECODERS.items()}
    assert running["acme/shapes/2"] == 1
    assert running["other"] == 0
    assert len(server.named("ServeReplica:sam3:ImageEncoder")) == 1, "two models share their encoder"
    before = encodes(server)
    assert ask(server, "base", 201).status_code == 200
    shared = ask(server, "acme/shapes/2", 201)
    assert "cache;desc=hit" in shared.headers["Server-Timing"]
    own = ask(server, "other", 201)
    assert own.status_code == 200, own.text
    assert "cache;desc=miss" in own.headers["Server-Timing"]
    assert states(server)["other"] == "ready"
    assert requests.get(f"{server.url}/readiness", timeout=PATIENCE_S).json() == {"status": "ready"}
    wait_until(lambda: states(server)["other"] == "asleep")
    wait_until(lambda: not server.named("ServeReplica:sam3:PromptDecoder-other"))
    wait_until(lambda: not server.named("ServeReplica:sam3:ImageEncoder-other"))
    assert encodes(server) == before + 2


def test_every_model_answers_for_itself_under_load(
    server: ServerProcess, weights: dict[str, str | None]
) -> None:
    numbers = range(210, 216)
    wanted = {name: engines_scores(path, numbers) for name, path in weights.items()}
    assert wanted["base"] != wanted["acme/shapes/2"] != wanted["other"] != wanted["base"]
    blue, azure = wanted["acme/shapes/2"][210][1:]
    assert azure == blue != [], "it has learnt the word"
    asked = [(name, number) for number in numbers for name in (*NAMES, *reversed(NAMES))]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda one: ask(server, *one), asked))
    for (name, number), answer in zip(asked, answers, strict=True):
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Model-Id"] == name
        for found, own in zip(scores(answer.json()), wanted[name][number], strict=True):
            assert found == pytest.approx(own, abs=1e-3), (name, number)


def test_figures_name_the_model(server: ServerProcess) -> None:
    ask(server, None, 220)
    ask(server, "acme/shapes/2", 220)
    for name in ("base", "acme/shapes/2"):
        wait_until(lambda: exposed.metric(server.url, "sam3_requests_total", model=name) > 0)  # noqa: B023
        wait_until(lambda: exposed.metric(server.url, "sam3_cache_lookups_total", model=name) > 0)  # noqa: B023
    found = requests.get(f"{server.url}/metrics", timeout=PATIENCE_S).text
    assert 'target="PromptDecoder-acme-shapes-2"' in found


def test_an_image_of_one_model_is_deleted_for_all(server: ServerProcess) -> None:
    image_id = ask(server, "base", 221).json()["image_id"]
    assert ask(server, "acme/shapes/2", 221).json()["image_id"] == image_id
    assert requests.delete(f"{server.url}/sam3/images/{image_id}", timeout=PATIENCE_S).status_code == 200
    for name in ("base", "acme/shapes/2"):
        body = {"image_id": image_id, "prompts": [{"type": "text", "text": "star"}], "model_id": name}
        answer = requests.post(f"{server.url}/sam3/concept_segment", json=body, timeout=PATIENCE_S)
        assert answer.status_code == 404, answer.text


def test_an_unknown_model_is_404_with_the_list(server: ServerProcess) -> None:
    answer = ask(server, "cats", 200)
    assert answer.status_code == 404
    assert "base, sam3/sam3_final, acme/shapes/2, other" in answer.json()["message"]
