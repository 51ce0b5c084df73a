"""Train `tiny` on drawn scenes: `python -m training.train`. Resumes from its last state.

On CPUs, data-parallel over processes of one thread each: at this size, that uses cores far better than threads inside
operators. On a GPU, one process, with as many workers as there are other cores to draw the scenes.
"""

import json
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from sam3_engine.spec import TINY
from training.arguments import Parser, device, folder, positive, share, whole
from training.batches import StepSize, moved
from training.optimizers import Optimizers
from training.recipe import WEIGHTS, click_step, dense_step, full_step
from training.schedule import Clock, Plan, learning_rate, progress
from training.states import Average, last, resume, save
from training.stream import CROWDED, CROWDED_LESSONS, Source, batches
from training.together import PORT, averaged, together
from training.trainee import Trainee

LOG_EVERY = 50
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Course:
    """What a run trains, and where.

    folder: holds the run's state and log. workers: processes that draw scenes for each that trains. bundled: begin
    with the bundled weights. clicks: train what clicks and boxes alone use.
    """

    folder: Path
    size: StepSize = field(default_factory=StepSize)
    device: torch.device = CPU
    workers: int = 0
    bundled: bool = False
    clicks: bool = False


def run(rank: int, processes: int, plan: Plan, course: Course) -> None:
    """Train in this process until the plan ends. rank: of `processes` that call this together."""
    on, size = course.device, course.size
    path = course.folder / "state.pt"
    first, earlier = last(path)
    lessons = progress(plan, first, earlier) < plan.dense_share
    crowded = CROWDED_LESSONS if lessons else CROWDED
    stream = batches(Source(TINY, size, first, rank, processes, crowded), course.workers)
    batch = next(stream)

    trainee = Trainee(seed=0, bundled=course.bundled).to(on)
    torch.set_float32_matmul_precision("high")
    trained = trainee.of_clicks() if course.clicks else trainee.trained()
    parameters = list(trained.values())
    optimizers = Optimizers(trained, plan)
    average = Average(trainee)
    if path.exists():
        resume(path, trainee, optimizers, average)
    clock, step, done, skipped, waited = Clock(earlier), first, progress(plan, first, earlier), 0, 0.0
    log = Log(course.folder / "log.jsonl") if rank == 0 else None
    while done < 1:
        rng = random.Random(step * 97 + rank)
        rate = learning_rate(plan, done)
        batch = moved(batch, on)
        if course.clicks:
            losses = click_step(trainee.model, batch, rng)
        elif lessons:
            losses = dense_step(trainee.model, trainee.dense, batch)
        else:
            losses = full_step(trainee.model, trainee.dense, batch, size.masked_prompts, rng)
        loss = torch.stack([WEIGHTS[name] * value for name, value in losses.items()]).sum()
        optimizers.zero_grad()
        loss.backward()
        step += 1
        done = averaged(parameters, processes, progress(plan, step, clock.seconds))
        norm = nn.utils.clip_grad_norm_(parameters, plan.clip)
        if torch.isfinite(norm):
            optimizers.step(rate)
            average.follow(min(plan.average, step / (step + 20)))
        else:
            skipped += 1
        if log:
            log.add(losses)
            if step % LOG_EVERY == 0 or done >= 1:
                log.write(
                    step=step,
                    seconds=round(clock.seconds, 1),
                    done=round(done, 4),
                    rate=rate,
                    skipped=skipped,
                    waited=round(waited, 1),
                )
            if clock.minute_passed() or done >= 1:
                save(path, step, clock.seconds, trainee, optimizers, average)
        if done < 1:
            before = clock.seconds
            if lessons and done >= plan.dense_share:
                lessons = False
                stream = batches(Source(TINY, size, step, rank, processes), course.workers)
            batch = next(stream)
            waited += clock.seconds - before


class Log:
    """Writes moving means of the losses, one JSON object a line, to a file and to the terminal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.means: dict[str, torch.Tensor] = {}

    def add(self, losses: dict[str, torch.Tensor]) -> None:
        for name, value in losses.items():
            value = value.detach()
            self.means[name] = torch.lerp(self.means.get(name, value), value, 0.03)

    def write(self, **facts: float) -> None:
        line = json.dumps(facts | {name: round(value.item(), 4) for name, value in self.means.items()})
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--steps", type=whole(1), default=Plan().steps)
    parser.add_argument("--minutes", type=positive, help="train for this long instead of a number of steps")
    parser.add_argument("--bundled", action="store_true", help="begin with the bundled weights")
    parser.add_argument("--device", type=device, default="cpu", help="cpu or cuda")
    parser.add_argument("--processes", type=whole(1), help="CPU: one for each core; GPU: one")
    parser.add_argument(
        "--workers", type=whole(0), help="processes that draw scenes; GPU: one for each other core"
    )
    parser.add_argument("--threads", type=whole(1), default=1, help="threads of each process")
    parser.add_argument(
        "--scenes", type=whole(1), default=StepSize().scenes, help="scenes in a step of a process"
    )
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        "--lessons", type=share, help="share of the run for the trunk, the neck and the text encoder alone"
    )
    parts.add_argument(
        "--clicks",
        action="store_true",
        help="train only what clicks and boxes use, over the embeddings of the bundled weights",
    )
    parser.add_argument("--rate", type=positive, default=Plan().learning_rate, help="highest learning rate")
    parser.add_argument("--folder", type=folder, default="runs/tiny", help="of the run's state and log")
    parser.add_argument(
        "--port", type=whole(1, 65535), default=PORT, help="loopback port that the processes meet on"
    )
    args = parser.parse_args()
    cores, on_gpu = os.cpu_count() or 1, args.device.type != "cpu"
    processes = args.processes or (1 if on_gpu else cores)
    size = StepSize(args.scenes)
    if on_gpu:
        # The time of a step is that of starting its operations, whatever their size: few kinds, and much of each.
        size = StepSize(args.scenes, masked_prompts=40, objects_per_scene=3, click_kinds=1)
    workers = args.workers if args.workers is not None else (max(1, cores - 1) if on_gpu else 0)
    bundled, dense_share = args.bundled or args.clicks, args.lessons
    if dense_share is None:
        # Without --lessons the trunk of bundled weights learns with all the rest.
        dense_share = 0.0 if bundled else Plan().dense_share
    plan = Plan(args.steps, args.minutes, dense_share=dense_share, learning_rate=args.rate)
    course = Course(args.folder, size, args.device, workers, bundled, args.clicks)
    together(run, processes, args.threads, args.port, plan, course)


if __name__ == "__main__":
    main()
