"""Several models in one server: updates of the set under load, and a model that wakes up.

    python -m drills.models

The server begins with one model, gets a second one with the same trunk, then a third one that sleeps and has a trunk of
its own, another default, and goes back to two. Requests go to the models that are there before and after each update.
None may fail.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from harness.cluster import Cluster, cluster, said, settings_of
from harness.figures import table
from harness.images import as_json, drawing
from harness.machine import this_machine
from harness.offered import Answer, offered
from harness.waiting import wait_until
from serve_app.model_file import ModelEntry
from training.siblings import model_of_another_trunk, model_of_one_trunk

RATE = 2.0
"""Requests a second."""
CALM_S = 8.0
"""Seconds of load before and after each update."""
IMAGES = 8
SLEEP_AFTER_S = 10.0
WAKES = 3
MIB = 2**20


@dataclass
class Results:
    """answers: of the load, by the update that was under way. wakes: seconds of the first answers of a model that
    slept. asleep, awake: bytes of all replicas' own memory."""

    answers: dict[str, Sequence[Answer]] = field(default_factory=dict)
    wakes: list[float] = field(default_factory=list)
    warm_s: float = 0.0
    asleep: int = 0
    awake: int = 0

    @property
    def failed(self) -> list[Answer]:
        """Answers that are none."""
        return [one for answers in self.answers.values() for one in answers if not one.ok]


def body(number: int, model: str | None) -> dict[str, Any]:
    """A request about one of IMAGES images."""
    chosen = {"model_id": model} if model else {}
    prompts = [{"type": "text", "text": "red circle"}]
    return {"image": as_json(drawing(number % IMAGES)), "prompts": prompts, **chosen}


def replicas_bytes(running: Cluster) -> int:
    """Memory that replicas share with no other process."""
    return sum(process.memory_full_info().uss for process in running.processes("ServeReplica:"))


def first_answer_s(running: Cluster, model: str, number: int) -> float:
    """Seconds of one request."""
    began = time.monotonic()
    answer = requests.post(f"{running.url}/sam3/concept_segment", json=body(number, model), timeout=150)
    answer.raise_for_status()
    return time.monotonic() - began


def updates(folder: Path) -> Results:
    """The drill."""
    base = ModelEntry(architecture="tiny")
    default = base.model_copy(update={"default": True})
    head = ModelEntry(architecture="tiny", checkpoint=str(model_of_one_trunk(folder / "head.safetensors")))
    trunk = str(model_of_another_trunk(folder / "trunk.safetensors"))
    other = ModelEntry(architecture="tiny", checkpoint=trunk, replicas=0, sleep_after_s=SLEEP_AFTER_S)
    sets: dict[str, dict[str, ModelEntry]] = {
        "one to two": {"base": default, "head": head},
        "two to three, another default": {
            "base": base,
            "head": head.model_copy(update={"default": True}),
            "other": other,
        },
        "three to two": {"base": default, "head": head},
    }
    results = Results()
    asked: list[str | None] = [None]

    def ask(number: int) -> tuple[str, dict[str, Any]]:
        return "/sam3/concept_segment", body(number, asked[number % len(asked)])

    with cluster(settings_of(model="tiny", scale_interval_s=0.5)) as running:
        for name, models in sets.items():
            said(name)
            with offered(running.url, ask, RATE) as load:
                time.sleep(CALM_S)
                running.deploy(models=models)
                time.sleep(CALM_S)
            results.answers[name] = load.answers
            asked[:] = [None, "base", "head"]
            if "other" in models:
                said("waking the third model")
                _wakes(running, results)
    return results


def _wakes(running: Cluster, results: Results) -> None:
    decoder = "PromptDecoder-other"
    for number in range(WAKES):
        wait_until(lambda: not running.processes(f"ServeReplica:sam3:{decoder}"))
        wait_until(lambda: not running.processes("ServeReplica:sam3:ImageEncoder-other"))
        results.asleep = replicas_bytes(running)
        results.wakes.append(first_answer_s(running, "other", number))
        results.warm_s = first_answer_s(running, "other", number)
        results.awake = replicas_bytes(running)


def report(results: Results) -> str:
    """The tables."""
    rows = [
        (
            name,
            len(answers),
            sum(not one.ok for one in answers),
            f"{max(one.seconds for one in answers):.1f} s",
        )
        for name, answers in results.answers.items()
    ]
    wakes = ", ".join(f"{seconds:.1f}" for seconds in results.wakes)
    figures = [
        ("first answers of a model that slept (its encoder too), s", wakes),
        ("the next answer, s", f"{results.warm_s:.2f}"),
        ("memory of all replicas while it sleeps", f"{results.asleep / MIB:.0f} MiB"),
        ("... and while it is awake", f"{results.awake / MIB:.0f} MiB"),
    ]
    tables = [
        table(("update", "requests", "failed", "slowest"), rows),
        table(("figure", "measured"), figures),
    ]
    return "\n\n".join(tables)


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(this_machine().line() + "\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        results = updates(Path(folder))
    print(report(results), flush=True)
    for one in results.failed:
        print(f"failed: {one.status} {one.error}", flush=True)
    return 1 if results.failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
