"""Data-parallel training: processes of one thread each, whose gradients are averaged over loopback."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing, nn

PORT = 29517
"""Loopback port that the processes meet on."""


def together(run: Callable[..., object], processes: int, threads: int, port: int, *given: Any) -> None:
    """Call `run(rank, processes, *given)` in so many processes, or in this one where it is one.

    run: a function of a module, for processes that start anew. Ctrl-C ends this one with a sentence.
    """
    try:
        if processes == 1:
            _process(0, 1, threads, port, run, given)
            return
        # A terminated parent must stop its workers: they are daemons, and only an orderly exit stops these.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        multiprocessing.spawn(  # type: ignore[attr-defined]
            _process, (processes, threads, port, run, given), nprocs=processes, daemon=True
        )
    except KeyboardInterrupt:
        print("stopped: the same command goes on from the last saved state", file=sys.stderr)
        sys.exit(130)


def _process(
    rank: int, processes: int, threads: int, port: int, run: Callable[..., object], given: tuple[Any, ...]
) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    if processes > 1:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started this stops it
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
        dist.init_process_group("gloo", rank=rank, world_size=processes)
    run(rank, processes, *given)
    if processes > 1:
        # A process that ends while others still talk to it ends them too.
        dist.barrier()
        dist.destroy_process_group()


def averaged(parameters: list[nn.Parameter], processes: int, done: float) -> float:
    """Average the gradients over all processes, in place, and return the mean of what each has done."""
    if processes == 1:
        return done
    # A parameter without a gradient in one process may have one in another: all processes must take part.
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([*(grad.flatten() for grad in grads), torch.tensor([done])])
    dist.all_reduce(flat)
    flat /= processes
    for parameter, part in zip(parameters, flat[:-1].split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)
    return flat[-1].item()
