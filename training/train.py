"""Train `tiny` from scratch on drawn scenes: `python -m training.train`. Resumes from its last state.

Data-parallel over processes of one thread each: at this size, that uses cores far better than threads inside operators.
"""

import argparse
import json
import math
import os
import random
import signal
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from sam3_engine.assembly import build_model
from sam3_engine.spec import TINY
from training.dense import DenseHead
from training.recipe import WEIGHTS, StepSize, dense_step, draw_batch, full_step
from training.tokens import compact_tokens


@dataclass(frozen=True, slots=True)
class Plan:
    """The hyperparameters of the recipe."""

    steps: int = 6600
    dense_steps: int = 2000
    dense_scenes: int = 8
    learning_rate: float = 8e-4
    weight_decay: float = 0.02
    warm_up_steps: int = 200
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    average: float = 0.998
    """Decay of the weights' moving average, which `training.export` writes."""


class Trainee(nn.Module):
    """The model with its training-only parts."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.model = build_model(TINY, video=True)
        compact_tokens(self.model)
        self.dense = DenseHead(TINY.vit_dim, TINY.d_model)
        spread_reference_points(self.model)
        attend_by_place(self.model)
        self.model.inst_interactive_predictor.model.sam_mask_decoder.train()

    def trained(self) -> list[nn.Parameter]:
        """The parameters that images use. Parameters for video are not trained."""
        tracker = "model.inst_interactive_predictor.model."
        video = tuple(
            tracker + part
            for part in (
                "maskmem",
                "transformer.",
                "obj_ptr",
                "no_obj",
                "no_mem_pos",
                "mask_downsample.",
            )
        )
        return [p for name, p in self.named_parameters() if not name.startswith(video)]


def spread_reference_points(model: Any) -> None:
    """Initialise the decoder's reference boxes as a grid over the image: the model learns to localise much faster."""
    side = math.isqrt(TINY.queries)
    places = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(places, places, indexing="ij")
    boxes = torch.stack(
        [x.flatten(), y.flatten(), torch.full((side * side,), 0.22), torch.full((side * side,), 0.22)], 1
    )
    with torch.no_grad():
        model.transformer.decoder.reference_points.weight.copy_(torch.logit(boxes))


def attend_by_place(model: Any) -> None:
    """Initialise the click decoder's cross-attention so that it attends to the click's position.

    Queries and keys get the same projection, so that equal position encodings match. Otherwise the model ignores clicks
    for thousands of steps.
    """
    transformer = model.inst_interactive_predictor.model.sam_mask_decoder.transformer
    crossings = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        crossings += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    with torch.no_grad():
        for attention in crossings:
            nn.init.orthogonal_(attention.q_proj.weight)
            attention.k_proj.weight.copy_(attention.q_proj.weight)
            attention.q_proj.bias.zero_()
            attention.k_proj.bias.zero_()


def learning_rate(plan: Plan, step: int) -> float:
    """Linear warm-up (and another when the full recipe begins), then a cosine to zero."""
    since = step if step < plan.dense_steps else step - plan.dense_steps
    warm = min(1.0, (since + 1) / plan.warm_up_steps)
    return plan.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / plan.steps)))


def run(rank: int, processes: int, plan: Plan, folder: Path, threads: int, port: int) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    if processes > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
        dist.init_process_group("gloo", rank=rank, world_size=processes)
    trainee = Trainee(seed=0)
    parameters = trainee.trained()
    optimizer = torch.optim.AdamW(
        parameters, lr=plan.learning_rate, betas=plan.betas, weight_decay=plan.weight_decay, fused=True
    )
    average = {
        name: value.clone() for name, value in trainee.state_dict().items() if value.is_floating_point()
    }
    start = resume(folder / "state.pt", trainee, optimizer, average)
    size = StepSize()
    began = time.time()
    means: dict[str, float] = {}
    for step in range(start, plan.steps):
        rng = random.Random(step * 97 + rank)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(plan, step)
        dense_only = step < plan.dense_steps
        count = plan.dense_scenes if dense_only else size.scenes
        first = 1 + (step * processes + rank) * plan.dense_scenes
        batch = draw_batch(TINY, range(first, first + count))
        if dense_only:
            losses = dense_step(trainee.model, trainee.dense, batch, rng)
        else:
            losses = full_step(TINY, trainee.model, trainee.dense, batch, size, rng)
        loss = torch.stack([WEIGHTS[name] * value for name, value in losses.items()]).sum()
        optimizer.zero_grad()
        loss.backward()
        average_gradients(parameters, processes)
        nn.utils.clip_grad_norm_(parameters, plan.clip)
        optimizer.step()
        with torch.no_grad():
            decay = min(plan.average, (step + 1) / (step + 20))
            for name, value in trainee.state_dict().items():
                if name in average:
                    average[name].lerp_(value, 1 - decay)
        if rank == 0:
            for name, value in losses.items():
                means[name] = 0.97 * means.get(name, value.item()) + 0.03 * value.item()
            if step % 50 == 0:
                spent = (time.time() - began) / (step - start + 1)
                line = {
                    "step": step,
                    "seconds_a_step": round(spent, 3),
                    **{k: round(v, 4) for k, v in means.items()},
                }
                print(json.dumps(line), flush=True)
            if (step + 1) % 250 == 0 or step + 1 == plan.steps:
                save(folder / "state.pt", step + 1, trainee, optimizer, average)


def average_gradients(parameters: list[nn.Parameter], processes: int) -> None:
    if processes == 1:
        return
    # A parameter without a gradient in one process may have one in another: all processes must take part.
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    flat /= processes
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)


def resume(
    path: Path, trainee: Trainee, optimizer: torch.optim.Optimizer, average: dict[str, torch.Tensor]
) -> int:
    """Load the last state in place; returns the step to continue from."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    trainee.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    average.update(state["average"])
    return int(state["step"])


def save(
    path: Path,
    step: int,
    trainee: Trainee,
    optimizer: torch.optim.Optimizer,
    average: dict[str, torch.Tensor],
) -> None:
    """Write a state under another name, then rename it: an interruption leaves the last state complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    state = {
        "step": step,
        "model": trainee.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average,
    }
    torch.save(state, fresh)
    fresh.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=Plan().steps)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=1, help="threads of each process")
    parser.add_argument("--folder", type=Path, default=Path("runs/tiny"))
    parser.add_argument("--port", type=int, default=29517, help="loopback port that the processes meet on")
    args = parser.parse_args()
    plan = Plan(steps=args.steps)
    job = (args.processes, plan, args.folder, args.threads, args.port)
    if args.processes == 1:
        run(0, *job)
    else:
        # A terminated parent must stop its workers: they are daemons, and only an orderly exit stops these.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        multiprocessing.spawn(run, job, nprocs=args.processes, daemon=True)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
