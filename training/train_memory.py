"""Trains what follows objects through videos, over the bundled weights: `python -m training.train_memory`.

The rest of the model stays as it is. A run that was interrupted goes on from its last state. `--out` writes a bundled
checkpoint with the moving average of what was trained.
"""

import json
import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch
from sam3.model.sam3_image import Sam3Image
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sam3_engine.assembly import build_model
from sam3_engine.bundled import BUNDLED_TINY, load_bundled, save_bundled
from sam3_engine.spec import TINY
from sam3_engine.weights import apply
from training.arguments import Parser, bundled_file, folder, new_file, positive, whole
from training.memory import clip_losses, trained
from training.moving import Clip, draw_clip
from training.optimizers import Optimizers
from training.schedule import Clock, Plan, learning_rate, progress
from training.states import Average, last, resume, save
from training.together import PORT, averaged, together
from training.tokens import known_token_ids

LOG_EVERY = 10
PRESENCE = 0.5
"""Weight of the loss "presence" beside that of masks."""


@dataclass(frozen=True, slots=True)
class ClipStep:
    """A step: clips of so many frames, and objects of each."""

    clips: int = 3
    frames: int = 8
    objects: int = 3


@dataclass(frozen=True, slots=True)
class Clips(IterableDataset[list[Clip]]):
    """The clips of each step from `first` on; the same whatever the number of workers. rank, processes: which of how
    many processes."""

    size: ClipStep
    first: int
    rank: int = 0
    processes: int = 1

    def __iter__(self) -> Iterator[list[Clip]]:
        worker: Any = get_worker_info()
        step, stride = self.first, 1
        if worker is not None:
            cv2.setNumThreads(1)
            step, stride = self.first + worker.id, worker.num_workers
        while True:
            yield self.of(step)
            step += stride

    def of(self, step: int) -> list[Clip]:
        number = step * self.processes + self.rank
        seeds = range(1 + number * self.size.clips, 1 + (number + 1) * self.size.clips)
        return [draw_clip(seed, self.size.frames, TINY.image_size) for seed in seeds]


def start(weights: Path) -> Sam3Image:
    """The model with bundled weights; memories that the file has are gone on with."""
    model = build_model(TINY, video=True)
    apply(model, load_bundled(weights))
    return model


@dataclass(frozen=True, slots=True)
class Course:
    """What a run trains, and where.

    folder: holds the run's state and log. weights: the bundled file to begin with. workers: processes that draw clips
    for each that trains. out: the bundled file that the first process writes at the end.
    """

    folder: Path
    weights: Path = BUNDLED_TINY
    size: ClipStep = field(default_factory=ClipStep)
    workers: int = 0
    out: Path | None = None


def run(rank: int, processes: int, plan: Plan, course: Course) -> Sam3Image:
    """Train until the plan is done; returns the model with the moving average of its weights.

    rank: of `processes` that call this together.
    """
    torch.manual_seed(0)
    model = start(course.weights)
    parameters = trained(model)
    learnt = nn.ParameterDict(
        {name.replace(".", "/"): one for name, one in model.named_parameters() if one.requires_grad}
    )
    optimizers = Optimizers(dict(learnt.items()), plan)
    average = Average(learnt)
    path = course.folder / "state.pt"
    step, earlier = last(path)
    if path.exists():
        resume(path, learnt, optimizers, average)
    clock, means, done = Clock(earlier), dict[str, float](), progress(plan, step, earlier)
    stream = _stream(Clips(course.size, step, rank, processes), course.workers)
    while done < 1:
        clips = next(stream)
        # A fifth faster on processors that multiply in bfloat16.
        with torch.autocast("cpu", torch.bfloat16):
            losses = clip_losses(model, clips, course.size.objects, random.Random(step * processes + rank))
        rate = learning_rate(plan, done)
        optimizers.zero_grad()
        (losses["mask"] + PRESENCE * losses["presence"]).backward()
        step += 1
        done = averaged(parameters, processes, progress(plan, step, clock.seconds))
        norm = nn.utils.clip_grad_norm_(parameters, plan.clip)
        if torch.isfinite(norm):
            optimizers.step(rate)
            average.follow(min(plan.average, step / (step + 20)))
        for name, value in losses.items():
            means[name] = means.get(name, value.item()) * 0.95 + 0.05 * value.item()
        if rank == 0 and step % LOG_EVERY == 0:
            _log(course.folder, step=step, seconds=round(clock.seconds, 1), rate=rate, **means)
        if rank == 0 and (clock.minute_passed() or done >= 1):
            save(path, step, clock.seconds, learnt, optimizers, average)
    learnt.load_state_dict(average.state, strict=False)
    if course.out and rank == 0:
        save_bundled(model.state_dict(), known_token_ids(model), course.out)
        print(f"{course.out}: {course.out.stat().st_size / 1e6:.1f} MB, {time.strftime('%H:%M')}")
    return model


def _stream(clips: Clips, workers: int) -> Iterator[list[Clip]]:
    if workers == 0:
        return iter(clips)
    context = multiprocessing.get_context("forkserver")
    return iter(
        DataLoader(
            clips, batch_size=None, num_workers=workers, prefetch_factor=3, multiprocessing_context=context
        )
    )


def _log(folder: Path, **facts: float) -> None:
    line = json.dumps({name: round(value, 5) for name, value in facts.items()})
    print(line, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.jsonl").open("a") as file:
        file.write(line + "\n")


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument(
        "--minutes", type=positive, default=120, help="train for this long, earlier runs included"
    )
    parser.add_argument("--rate", type=positive, default=5e-4, help="highest learning rate")
    parser.add_argument("--clips", type=whole(1), default=ClipStep().clips, help="clips in a step")
    parser.add_argument("--frames", type=whole(2), default=ClipStep().frames, help="frames of a clip")
    parser.add_argument("--processes", type=whole(1), default=os.cpu_count() or 1)
    parser.add_argument(
        "--workers",
        type=whole(0),
        default=0,
        help="processes that draw clips for each; 0: each draws its own",
    )
    parser.add_argument("--threads", type=whole(1), default=1, help="threads of each process")
    parser.add_argument(
        "--port", type=whole(1, 65535), default=PORT, help="loopback port that the processes meet on"
    )
    parser.add_argument("--folder", type=folder, default="runs/memory", help="of the run's state and log")
    parser.add_argument(
        "--weights", type=bundled_file, default=BUNDLED_TINY, help="a bundled file to begin with"
    )
    parser.add_argument("--out", type=new_file, help="the bundled file to write at the end")
    args = parser.parse_args()
    plan = Plan(minutes=args.minutes, learning_rate=args.rate, dense_share=0.0)
    course = Course(args.folder, args.weights, ClipStep(args.clips, args.frames), args.workers, args.out)
    together(run, args.processes, args.threads, args.port, plan, course)


if __name__ == "__main__":
    main()
