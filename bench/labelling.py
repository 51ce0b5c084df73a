"""Measures `sam3-serve label` beside other ways to label a folder, in turns: `python -m bench.labelling`.

The others: the engine's batched loop in one process, the SDK in a loop, and a person's script of 30 lines that sends
files to a server by eight threads. All have the same images, classes, thresholds and cores, and all make masks in
run-length encoding. Rates are those of a run that is under way: starting Ray, a server, or a model is not in them.

`--memory` measures the memory of the whole command with few small images and with many.
`--checkpoint`: `scripts.random_checkpoint` writes one of full size. Leave the server out then: `--only engine label`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import psutil
import requests

from harness.figures import table
from harness.machine import this_machine
from harness.server import ROOT, environment, server_process
from harness.usage import tree
from sam3_engine.types import ImageSize
from training.concepts import COLOURS, SHAPES
from training.scenes import draw_scene, render

CLASSES = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES][:12]
THRESHOLD, NMS = 0.5, 0.7
FIRST_SEED = 30_000_000
THREADS = 8
EVERY_S = 0.5
SMALL = ImageSize(96, 128)
DRAWN = 100
"""Different small scenes; further files repeat them."""


@dataclass(frozen=True, slots=True)
class Work:
    """The images and classes to label, and the model for it. batch: images at once, for those that take several."""

    photos: Path
    model: str
    checkpoint: str | None
    batch: int
    threads: int


@dataclass(frozen=True, slots=True)
class Rate:
    """images_per_s: without the first batch. objects: all that were found."""

    images_per_s: float
    objects: int


@dataclass(frozen=True, slots=True)
class Memory:
    """mib: the most memory that the command and all that it started had at once, shared parts counted once."""

    images: int
    mib: float


def draw(folder: Path, count: int, size: ImageSize | None = None, different: int | None = None) -> Path:
    """Write drawn scenes as JPEG files. different: so many scenes, again and again."""
    folder.mkdir(parents=True)
    files: list[bytes] = []
    for number in range(count):
        if number < (different or count):
            scene = draw_scene(FIRST_SEED + number, size)
            files.append(cv2.imencode(".jpg", render(scene)[..., ::-1])[1].tobytes())
        (folder / f"{number:05d}.jpg").write_bytes(files[number % len(files)])
    return folder


def engine(work: Work) -> Rate:
    """The engine's calls in batches: read, decode, encode, find, masks to RLE."""
    import torch

    from sam3_engine.encode_masks import concept_instances
    from sam3_engine.engine import ConceptItem, Engine
    from sam3_engine.images import decode_image
    from sam3_engine.types import ConceptPrompt

    torch.set_num_threads(work.threads)
    model = Engine.load(work.model, checkpoint=work.checkpoint)
    prompts = [ConceptPrompt(name, score_threshold=THRESHOLD) for name in CLASSES]
    files = sorted(work.photos.iterdir())
    objects, start = 0, 0.0
    for first in range(0, len(files), work.batch):
        if first == work.batch:
            start = time.perf_counter()
        batch = [file.read_bytes() for file in files[first : first + work.batch]]
        decoded = [decode_image(one, max_pixels=None, target=model.spec.image_size) for one in batch]
        embeddings = model.encode([one.square for one in decoded])
        items = [
            ConceptItem(model.expand(embedding), one.size, prompts)
            for embedding, one in zip(embeddings, decoded, strict=True)
        ]
        for one, found in zip(decoded, model.segment_concepts(items), strict=True):
            objects += sum(map(len, concept_instances(found, one.size, "rle", NMS)))
    return Rate((len(files) - work.batch) / (time.perf_counter() - start), objects)


def sdk(work: Work) -> Rate:
    """The Python interface, an image at a time."""
    import torch

    from sam3_engine.sdk import Sam3Prompt, SegmentAnything3

    torch.set_num_threads(work.threads)
    model = SegmentAnything3(model=work.model, checkpoint=work.checkpoint)
    prompts = [Sam3Prompt(type="text", text=name) for name in CLASSES]
    files = sorted(work.photos.iterdir())
    objects, start = 0, 0.0
    for number, file in enumerate(files):
        if number == work.batch:
            start = time.perf_counter()
        answer = model.segment_image(
            file, prompts=prompts, output_prob_thresh=THRESHOLD, format="rle", nms_iou_threshold=NMS
        )
        objects += sum(len(result.predictions) for result in answer.prompt_results)
    return Rate((len(files) - work.batch) / (time.perf_counter() - start), objects)


def script(work: Work) -> Rate:
    """A person's script, and the server that it asks."""
    request = {
        "prompts": [{"type": "text", "text": name} for name in CLASSES],
        "output_prob_thresh": THRESHOLD,
        "nms_iou_threshold": NMS,
        "format": "rle",
    }
    with tempfile.TemporaryDirectory(prefix="sam3-bench-") as folder:
        where: dict[str, Any] = {"checkpoint": work.checkpoint} if work.checkpoint else {}
        with (
            server_process(
                Path(folder), model=work.model, allow_open="true", object_store_bytes="auto", **where
            ) as server,
            requests.Session() as session,
            ThreadPoolExecutor(THREADS) as pool,
        ):

            def label(file: Path) -> int:
                files: dict[str, Any] = {"image": file.read_bytes(), "request": (None, json.dumps(request))}
                answer = session.post(f"{server.url}/sam3/concept_segment", files=files)
                answer.raise_for_status()
                return sum(len(result["predictions"]) for result in answer.json()["prompt_results"])

            photos = sorted(work.photos.iterdir())
            objects = sum(pool.map(label, photos[: work.batch]))
            start = time.perf_counter()
            objects += sum(pool.map(label, photos[work.batch :]))
            return Rate((len(photos) - work.batch) / (time.perf_counter() - start), objects)


def command(photos: Path, dataset: Path, work: Work) -> list[str]:
    """`sam3-serve label` as typed."""
    classes = [word for name in CLASSES for word in ("--class", name)]
    weights = ["--checkpoint", work.checkpoint] if work.checkpoint else []
    options = [
        "--threshold",
        str(THRESHOLD),
        "--nms",
        str(NMS),
        "--batch",
        str(work.batch),
        "-o",
        str(dataset),
    ]
    model = ["--model", work.model, *weights]
    return [sys.executable, "-m", "serve_app.cli.entry", "label", str(photos), *classes, *options, *model]


def label(work: Work) -> Rate:
    """The command. Its own figure begins with the first images. Raises RuntimeError where these are all."""
    with tempfile.TemporaryDirectory(prefix="sam3-bench-") as folder:
        dataset = Path(folder) / "set"
        subprocess.run(
            command(work.photos, dataset, work),
            check=True,
            cwd=ROOT,
            env=environment(object_store_bytes="auto"),
            stdout=subprocess.DEVNULL,
        )
        manifest = json.loads((dataset / "manifest.json").read_text())
    if manifest["images_per_second"] is None:
        raise RuntimeError("the run was too short to tell its rate: --images takes more")
    return Rate(manifest["images_per_second"], sum(manifest["counts"]["objects"].values()))


WAYS: dict[str, Callable[[Work], Rate]] = {"engine": engine, "label": label, "script": script, "sdk": sdk}
TITLES = {
    "engine": "the engine's batched loop, one process",
    "label": "`sam3-serve label`",
    "script": "a script of 30 lines, eight threads, over HTTP",
    "sdk": "the SDK in a loop",
}


def rates(work: Work, names: Sequence[str], turns: int) -> dict[str, Rate]:
    """Each way by its median rate over turns. Each has a process of its own."""
    found: dict[str, list[Rate]] = {name: [] for name in names}
    for _ in range(turns):
        for name in names:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                found[name].append(process.submit(WAYS[name], work).result())
    return {
        name: Rate(statistics.median(one.images_per_s for one in every), every[0].objects)
        for name, every in found.items()
    }


def memory(work: Work, counts: Sequence[int]) -> list[Memory]:
    """The memory of the command by the number of small images."""
    found = []
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="sam3-bench-") as folder:
            photos = draw(Path(folder) / "photos", count, SMALL, DRAWN)
            process = psutil.Popen(
                command(photos, Path(folder) / "set", work),
                cwd=ROOT,
                env=environment(object_store_bytes="auto"),
                stdout=subprocess.DEVNULL,
            )
            most = 0
            while process.poll() is None:
                most = max(most, sum(map(_pss, tree(process.pid)())))
                time.sleep(EVERY_S)
            if process.returncode:
                raise RuntimeError(f"the command ended with {process.returncode}")
        found.append(Memory(count, round(most / 2**20)))
    return found


def _pss(process: psutil.Process) -> int:
    """Bytes of a process, of parts shared with others its share."""
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0


def texts(found: dict[str, Rate], grown: Sequence[Memory], asked: argparse.Namespace) -> Iterator[str]:
    """The report."""
    if found:
        yield "## Labelling a folder"
        yield f"{asked.images} images, {len(CLASSES)} classes, batches of {asked.batch}, {asked.turns} turns."
        ours = found.get("label")
        rows = [
            (
                TITLES[name],
                f"{one.images_per_s:.3g}",
                f"{ours.images_per_s / one.images_per_s:.2f}" if ours else "",
                one.objects,
            )
            for name, one in found.items()
        ]
        yield table(("", "images/s", "`label` is so many times as fast", "objects"), rows)
    if grown:
        yield "## Memory of a run, small images"
        yield table(("images", "MiB at most"), [(one.images, one.mib) for one in grown])


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--checkpoint")
    parser.add_argument("--threads", type=int, default=psutil.cpu_count() or 1, help="of torch")
    parser.add_argument("--only", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--memory", nargs="*", type=int, default=[], metavar="IMAGES", help="e.g. 1000 10000")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    return parser.parse_args(arguments)


def measure(asked: argparse.Namespace) -> tuple[dict[str, Rate], list[Memory]]:
    """All that is asked for."""
    with tempfile.TemporaryDirectory(prefix="sam3-bench-") as folder:
        photos = draw(Path(folder) / "photos", asked.images)
        work = Work(photos, asked.model, asked.checkpoint, asked.batch, asked.threads)
        found = rates(work, asked.only, asked.turns) if asked.only else {}
        return found, memory(work, asked.memory)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    asked = parse(arguments)
    found, grown = measure(asked)
    head = f"{this_machine().line()}, {asked.model}, {asked.threads} torch threads"
    text = "\n\n".join([head, *texts(found, grown, asked)])
    print(text)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "labelling.md").write_text(text + "\n")
    written: dict[str, Any] = {
        "machine": this_machine().as_dict(),
        "rates": {name: asdict(one) for name, one in found.items()},
        "memory": [asdict(one) for one in grown],
    }
    (asked.out / "labelling.json").write_text(json.dumps(written, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
