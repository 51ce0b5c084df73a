"""Processes that train together keep equal weights."""

import socket
from pathlib import Path

import pytest
import torch
from torch import nn

from training.together import averaged, together


def one_step(rank: int, processes: int, folder: Path) -> None:
    """Give the first process a gradient of 3 for one weight, the second none, and note what each gets."""
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    if rank == 0:
        weights[0].grad = torch.tensor([3.0, 1.0])
    weights[1].grad = torch.tensor([float(rank)])
    done = averaged(weights, processes, done=0.2 + 0.4 * rank)
    torch.save([weight.grad for weight in weights] + [torch.tensor(done)], folder / f"{rank}.pt")


def fail(rank: int, processes: int) -> None:
    if rank == 1:
        raise RuntimeError("no memory is left")


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_two_processes_step_by_the_mean_of_their_gradients(tmp_path: Path, port: int) -> None:
    together(one_step, 2, 1, port, tmp_path)
    for rank in range(2):
        first, second, done = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert first.tolist() == [1.5, 0.5]
        assert second.tolist() == [0.5]
        assert done.item() == pytest.approx(0.4)


def test_one_process_keeps_its_gradients(tmp_path: Path, port: int) -> None:
    together(one_step, 1, torch.get_num_threads(), port, tmp_path)
    first, _, done = torch.load(tmp_path / "0.pt", weights_only=True)
    assert first.tolist() == [3, 1]
    assert done.item() == pytest.approx(0.2)


def test_an_error_of_one_process_ends_all(port: int) -> None:
    with pytest.raises(Exception, match="no memory is left"):
        together(fail, 2, 1, port)
