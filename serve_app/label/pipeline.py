"""The steps as a stream of Ray Data: read and decode on CPUs, find with a model per actor, masks on CPUs.

Ray holds a step back while the next one has enough to do, so that memory does not grow with the number of images. It
repeats the batches of an actor or a node that died.
"""

import logging
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.util.annotations import RayDeprecationWarning

from serve_app.label.labeller import LabelImages
from serve_app.label.labelling import Labelling
from serve_app.label.lists import SourceImage
from serve_app.label.objects import FindObjects
from serve_app.label.reading import ReadImages
from serve_app.label.rows import TO_READ

TASK_CPUS = 0.5
"""Booked for a task that reads or makes masks: it also waits, for files and for the model."""
MODEL_CPUS = 0.25
"""Booked for a model. Its threads are its own choice; so little is booked that a machine of one core has room for the
tasks beside it. It must differ from TASK_CPUS: Ray would have one process do both steps, one after the other."""


TRIES = 5
"""Of a block or batch whose process, or node, dies: Ray would go on for ever."""
MOST_FAILED = 64
"""Blocks that may fail each time. Beyond that it is no image's fault, and the run ends."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How the work is spread. actors: the most models at once. gpus: of each, 0 for CPUs. batch: images that a model
    gets at once. block: images of one task, which come out together, and are done again when its worker dies."""

    actors: int = 1
    gpus: float = 0
    batch: int = 8
    block: int = 8


def scale_of(device: str, actors: int | None, batch: int, resources: Mapping[str, float]) -> Scale:
    """The spread over a cluster. device, actors, batch: as the command's options. resources: Ray's, of all nodes. A
    cluster that grows may have no GPU yet: then `device` says that there will be some."""
    gpus = int(resources.get("GPU", 0))
    on_gpus = gpus > 0 if device == "auto" else device != "cpu"
    models = actors or (max(1, gpus) if on_gpus else 1)
    # A GPU does many batches a second: with fewer tasks Ray keeps up with dozens of GPUs.
    return Scale(models, int(on_gpus), batch, 8 * batch if on_gpus else batch)


def labelled(
    images: Sequence[SourceImage], labelling: Labelling, side: int, max_pixels: int, scale: Scale
) -> Dataset:
    """A lazy Dataset of `rows.LABELLED`, in any order. side: of the model's square, in pixels."""
    classes = list(labelling.classes)
    columns = [[image.location for image in images], [image.name for image in images]]
    listed = pa.table([pa.array(column, pa.string()) for column in columns], schema=TO_READ)
    blocks = [listed.slice(start, scale.block) for start in range(0, len(listed), scale.block)]
    models = ActorPoolStrategy(min_size=1, max_size=scale.actors)
    return (
        ray.data.from_arrow(blocks)
        .map_batches(
            ReadImages(side, max_pixels),
            batch_size=scale.batch,
            batch_format="pyarrow",
            num_cpus=TASK_CPUS,
            max_retries=TRIES,
        )
        .map_batches(
            LabelImages,
            fn_constructor_args=(classes, labelling.choice),
            batch_size=scale.batch,
            batch_format="pyarrow",
            num_gpus=scale.gpus or None,
            num_cpus=MODEL_CPUS,
            compute=models,
            max_task_retries=TRIES,
        )
        .map_batches(
            FindObjects(classes, labelling.rules),
            batch_size=scale.batch,
            batch_format="pyarrow",
            num_cpus=TASK_CPUS,
            max_retries=TRIES,
        )
    )


def tables(dataset: Dataset) -> Generator[pa.Table, None, None]:
    """Its blocks, as they are ready."""
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)


def set_up() -> None:
    """Ray Data shows nothing by itself: the command tells of its progress. It leaves out the blocks of a few images
    that fail each time, such as those that kill the process that decodes them."""
    # Only so can a step be told its tries, until Ray has names for them.
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", RayDeprecationWarning)
    context = DataContext.get_current()
    context.max_errored_blocks = MOST_FAILED
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
