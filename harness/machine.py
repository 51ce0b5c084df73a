"""The setting that a figure was measured in: hardware, versions, commit."""

import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
PACKAGES = ("sam3-serve", "ray", "torch", "torchvision", "sam3", "numpy", "fastapi")


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine, and the versions installed on it."""

    date: str
    cpu: str
    cores: int
    memory_gib: float
    gpu: str
    python: str
    versions: dict[str, str]
    commit: str

    def as_dict(self) -> dict[str, object]:
        """The fields for a JSON report."""
        return asdict(self)

    def line(self) -> str:
        """One line for the head of a printed table."""
        return (
            f"{self.date}, {self.cpu}, {self.cores} cores, {self.memory_gib:.0f} GiB, {self.gpu}, "
            f"torch {self.versions['torch']}, ray {self.versions['ray']}, commit {self.commit}"
        )


def this_machine() -> Machine:
    """The machine and the versions that this process runs on."""
    return Machine(
        date=datetime.now(UTC).date().isoformat(),
        cpu=_cpu(),
        cores=psutil.cpu_count() or 1,
        memory_gib=psutil.virtual_memory().total / 2**30,
        gpu=_gpu(),
        python=platform.python_version(),
        versions={name: version(name) for name in PACKAGES},
        commit=_commit(),
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def _commit() -> str:
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if found.returncode:
        return "unknown"
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True).stdout.strip()
    return found.stdout.strip() + ("+" if changed else "")
