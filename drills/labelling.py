"""Labels drawn scenes, with kills on the way, and compares with their exact masks: `python -m drills.labelling`.

Prints the average precision of the masks by pycocotools. `bench.labelling` measures rates.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from harness.orphans import end_with_parent
from training.concepts import COLOURS, SHAPES
from training.scenes import draw_scene, render

CLASSES = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
FIRST_SEED = 20_000_000
"""First seed of the drawn images, far from the seeds of the training."""
WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """ap: mean over IoU 0.5 to 0.95; ap50: at 0.5. rate: images per second of the last run."""

    images: int
    kills: int
    ap: float
    ap50: float
    rate: float


def draw(folder: Path, count: int) -> dict[str, Any]:
    """Draw scenes into files. Returns COCO's document of their exact masks."""
    folder.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        scene = draw_scene(FIRST_SEED + number)
        name = f"{number:05d}.png"
        cv2.imwrite(str(folder / name), cv2.cvtColor(render(scene), cv2.COLOR_RGB2BGR))
        images.append(
            {"id": number + 1, "file_name": name, "height": scene.size.height, "width": scene.size.width}
        )
        for index, shape in enumerate(scene.shapes):
            rle = coco.encode(scene.mask(index, scene.size).astype("uint8", order="F"))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": CLASSES.index(f"{shape.colour} {shape.shape}") + 1,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "area": int(coco.area(rle)),
                    "bbox": coco.toBbox(rle).tolist(),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def command(photos: Path, dataset: Path, threshold: float, *more: str) -> list[str]:
    """The command that a person types."""
    classes = [word for name in CLASSES for word in ("--class", name)]
    options = ["--threshold", str(threshold), "--val", "0", "-o", str(dataset), *more]
    return [sys.executable, "-m", "serve_app.cli.entry", "label", str(photos), *classes, *options]


def kill_after_parts(photos: Path, dataset: Path, threshold: float, parts: int) -> None:
    """Run the command, and kill it as soon as it has written more parts."""
    folder = dataset / "parts"
    before = len(list(folder.glob("part-*.parquet")))
    with subprocess.Popen(
        command(photos, dataset, threshold), stdout=subprocess.DEVNULL, preexec_fn=end_with_parent
    ) as process:
        end = time.monotonic() + WAIT_S
        while len(list(folder.glob("part-*.parquet"))) < before + parts:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the command ended, or wrote nothing")
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)


def precision(truth: Path, found: Path) -> tuple[float, float]:
    """Mean average precision of the masks, and that at an IoU of 0.5."""
    with redirect_stdout(StringIO()):
        true, labelled = COCO(truth), COCO(found)
        numbers = {image["file_name"]: image["id"] for image in true.loadImgs(true.getImgIds())}
        name_of = {image["id"]: image["file_name"] for image in labelled.loadImgs(labelled.getImgIds())}
        results = [
            {
                "image_id": numbers[name_of[one["image_id"]]],
                "category_id": one["category_id"],
                "segmentation": one["segmentation"],
                "score": one["score"],
            }
            for one in labelled.loadAnns(labelled.getAnnIds())
        ]
        evaluation = COCOeval(true, true.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def drill(folder: Path, images: int, kills: int, threshold: float = 0.05) -> Outcome:
    """Draw, label with kills, and compare. Raises RuntimeError where an image is missing or there twice."""
    import pyarrow.parquet as pq

    photos, dataset, truth = folder / "photos", folder / "set", folder / "truth.json"
    truth.write_text(json.dumps(draw(photos, images)))
    for number in range(kills):
        kill_after_parts(photos, dataset, threshold, 1 + number)
    formats = [word for name in ("coco", "yolo-seg") for word in ("--format", name)]
    subprocess.run(command(photos, dataset, threshold, *formats), check=True, timeout=WAIT_S)
    done = [
        location
        for part in (dataset / "parts").glob("part-*.parquet")
        for location in pq.read_table(part, columns=["location"])["location"].to_pylist()
    ]
    if sorted(done) != sorted(str(path) for path in photos.iterdir()):
        raise RuntimeError(f"{len(done)} rows for {images} images")
    ap, ap50 = precision(truth, dataset / "coco" / "annotations" / "instances_train.json")
    rate = json.loads((dataset / "manifest.json").read_text())["images_per_second"]
    return Outcome(images, kills, ap, ap50, rate)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=2)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(drill(Path(folder), asked.images, asked.kills))


if __name__ == "__main__":
    main()
