"""The bundled checkpoint reaches the figures of its card on scenes that it was not trained on: the first 24 of the 200
that `make drill ONLY=gate` takes."""

import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from sam3_engine.bundled import BUNDLED_TINY
from sam3_engine.engine import ConceptItem, Engine
from sam3_engine.sdk import Sam3Prompt, SegmentAnything3
from sam3_engine.spec import TINY
from sam3_engine.types import ConceptPrompt, ImageSize
from scripts.playground_samples import FOLDER, SCENES
from training.evaluate import SETS, evaluate

SAMPLES = Path(__file__).parents[2] / "serve_app" / "playground" / "samples.js"
SUGGESTIONS = re.findall(r"^  (\w+): \[(.+)\],$", SAMPLES.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def figures(engine: Engine) -> dict[str, dict[str, float]]:
    return {name: evaluate(engine, SETS[name], range(24)).figures() for name in SETS}


@pytest.mark.parametrize(("name", "figure"), [(name, figure) for name in SETS for figure in SETS[name].gate])
def test_the_gate(figures: dict[str, dict[str, float]], name: str, figure: str) -> None:
    assert figures[name][figure] >= SETS[name].gate[figure], figures[name]


@pytest.mark.parametrize("name", SETS)
def test_a_refinement_does_not_make_masks_worse(figures: dict[str, dict[str, float]], name: str) -> None:
    assert figures[name]["refined IoU"] >= figures[name]["one-click IoU"] - 0.01


def test_the_file_is_small_and_half_precision() -> None:
    assert BUNDLED_TINY.stat().st_size < 10e6
    with safe_open(BUNDLED_TINY, framework="pt") as file:
        names = list(file.keys())
        assert {file.get_slice(name).get_dtype() for name in names} <= {"F16", "I32", "I64"}


def test_words_it_never_saw_find_nothing_and_alike(engine: Engine) -> None:
    grey = np.full((TINY.image_size, TINY.image_size, 3), 128, dtype=np.uint8)
    features = engine.expand(engine.encode([grey])[0])
    prompts = [ConceptPrompt(word) for word in ("zebra", "Übermut", "the quick brown fox")]
    found = engine.segment_concepts([ConceptItem(features, ImageSize(300, 300), prompts)])[0]
    assert [len(one.scores) for one in found] == [0, 0, 0]


def test_it_loads_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    began = time.monotonic()
    loaded = Engine.load("tiny", device="cpu")
    assert loaded.spec.name == "tiny"
    print(f"loaded in {time.monotonic() - began:.2f} s")  # a figure, not a bar: this machine is not yours


@pytest.mark.parametrize(("name", "texts"), SUGGESTIONS)
def test_every_suggestion_of_the_playground_finds_what_is_drawn(
    engine: Engine, name: str, texts: str
) -> None:
    asked = re.findall(r'"([^"]+)"', texts)
    drawn = Counter(SCENES[name][2])
    found = SegmentAnything3(engine=engine).segment_image(
        FOLDER / f"{name}.jpg", prompts=[Sam3Prompt(type="text", text=text) for text in asked]
    )
    assert [len(result.predictions) for result in found.prompt_results] == [
        sum(count for kind, count in drawn.items() if set(text.split()) <= set(kind.split()))
        for text in asked
    ]


def test_every_sample_of_the_playground_has_suggestions() -> None:
    assert [name for name, _ in SUGGESTIONS] == list(SCENES)
