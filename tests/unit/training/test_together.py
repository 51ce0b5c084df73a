"""Processes that train together keep equal weights."""

import os
import signal
import socket
import subprocess
import sys
import time
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


def wait(rank: int, processes: int, folder: Path) -> None:
    """Note the process' id, and wait for an end from outside."""
    note = folder / f"{rank}.part"
    note.write_text(str(os.getpid()))
    note.rename(folder / f"{rank}.pid")
    time.sleep(600)


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_ends_all_processes_with_a_sentence(tmp_path: Path, port: int, processes: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"""
import signal
from pathlib import Path
from {__name__} import wait
from training.together import together

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts the tests may ignore it
    together(wait, {processes}, 1, {port}, Path({str(tmp_path)!r}))
""")
    paths = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    command, environment = [sys.executable, str(script)], {**os.environ, "PYTHONPATH": paths}
    notes = [tmp_path / f"{rank}.pid" for rank in range(processes)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as parent:
        try:
            while not all(note.exists() for note in notes):
                assert parent.poll() is None
                time.sleep(0.05)
            parent.send_signal(signal.SIGINT)
            _, said = parent.communicate(timeout=120)
        finally:
            parent.kill()
    assert parent.returncode == 130
    assert said.decode() == "stopped: the same command goes on from the last saved state\n"
    for note in notes:
        with pytest.raises(ProcessLookupError):
            os.kill(int(note.read_text()), 0)


def test_an_error_of_one_process_ends_all(port: int) -> None:
    with pytest.raises(Exception, match="no memory is left"):
        together(fail, 2, 1, port)
