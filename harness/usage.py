"""The use of a loaded server's processes: CPU and memory by group, and the number of replicas."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psutil

EVERY_S = 1.0
REPLICA = "ServeReplica:"
GROUPS = (
    ("PoolShard", "pool"),
    ("haproxy", "haproxy"),
    ("HAProxy", "haproxy"),
    ("ProxyActor", "haproxy"),
    ("ServeController", "serve controller"),
    ("loadtest.naive", "baseline"),
    ("serve_app", "sam3-serve up"),
    ("sam3-serve", "sam3-serve up"),
)
"""A part of a command line, and the group of the processes that have it. The rest is Ray's."""

Processes = Callable[[], list[psutil.Process]]


@dataclass(frozen=True)
class Sample:
    """One look at the processes. at: seconds since the first; by group: cores in use since the last look, how many."""

    at: float
    cores: dict[str, float]
    processes: dict[str, int]


@dataclass(frozen=True)
class Group:
    """One group of processes over the load. cores: in use, mean; memory of their own at the end, MiB."""

    processes: int
    cores: float
    memory_mib: float


@dataclass
class Usage:
    """The samples of a load, and the figures of each group of processes over the whole of it."""

    samples: list[Sample] = field(default_factory=list)
    groups: dict[str, Group] = field(default_factory=dict)


@dataclass
class _Seen:
    group: str
    first_s: float
    cpu_s: float
    memory_mib: float = 0.0
    alive: bool = True


def group_of(command: Sequence[str]) -> str:
    """The group of a process by its command line; a replica's is its deployment."""
    line = " ".join(command)
    if REPLICA in line:
        return line.partition(REPLICA)[2].split(":")[1].split()[0].partition(".")[0]
    return next((name for part, name in GROUPS if part in line), "ray")


@contextmanager
def watched(processes: Processes) -> Iterator[Usage]:
    """Sample while the block runs. processes: gives the server's processes, and is asked anew for every sample."""
    usage, stop = Usage(), threading.Event()
    sampler = threading.Thread(target=_watch, args=(processes, usage, stop), name="usage", daemon=True)
    sampler.start()
    try:
        yield usage
    finally:
        stop.set()
        sampler.join()


def _watch(processes: Processes, usage: Usage, stop: threading.Event) -> None:
    seen: dict[int, _Seen] = {}
    began = last = time.perf_counter()
    _look(processes, seen)
    while True:
        done = stop.wait(EVERY_S)
        before = {pid: one.cpu_s for pid, one in seen.items()}
        _look(processes, seen)
        now = time.perf_counter()
        cores: Counter[str] = Counter()
        for pid, one in seen.items():
            cores[one.group] += (one.cpu_s - before.get(pid, one.first_s)) / (now - last)  # type: ignore[assignment]
        counts = Counter(one.group for one in seen.values() if one.alive)
        usage.samples.append(
            Sample(round(now - began, 2), {name: round(v, 3) for name, v in cores.items()}, dict(counts))
        )
        last = now
        if done:
            break
    for name in sorted({one.group for one in seen.values()}):
        mine = [one for one in seen.values() if one.group == name]
        usage.groups[name] = Group(
            sum(one.alive for one in mine),
            round(sum(one.cpu_s - one.first_s for one in mine) / (last - began), 3),
            round(sum(one.memory_mib for one in mine if one.alive), 1),
        )


def _look(processes: Processes, seen: dict[int, _Seen]) -> None:
    for one in seen.values():
        one.alive = False
    for process in processes():
        try:
            with process.oneshot():
                spent, memory = sum(process.cpu_times()[:2]), process.memory_info()
                if process.pid not in seen or seen[process.pid].group == "ray":  # Ray renames its workers
                    first = seen[process.pid].first_s if process.pid in seen else spent
                    seen[process.pid] = _Seen(group_of(process.cmdline()), first, spent)
        except psutil.Error:
            continue
        one = seen[process.pid]
        one.cpu_s, one.memory_mib, one.alive = spent, (memory.rss - memory.shared) / 2**20, True


def tree(pid: int) -> Processes:
    """A process and all that it started."""

    def processes() -> list[psutil.Process]:
        try:
            process = psutil.Process(pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    return processes


def cpu_seconds(processes: Processes) -> float:
    """CPU time that the processes have used so far."""
    total = 0.0
    for process in processes():
        try:
            total += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def cpu_by_group(processes: Processes) -> dict[str, float]:
    """CPU seconds that each group of processes has used so far."""
    found: Counter[str] = Counter()
    for process in processes():
        try:
            with process.oneshot():
                found[group_of(process.cmdline())] += sum(process.cpu_times()[:2])  # type: ignore[assignment]
        except psutil.Error:
            continue
    return dict(found)


def server_behind(url: str) -> Processes:
    """The processes of the server that listens on the URL's port; none where it runs on another machine."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return list
    for connection in psutil.net_connections("tcp"):
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
        if listens and connection.pid:
            return tree(_outermost(psutil.Process(connection.pid)).pid)
    return list


def _outermost(process: psutil.Process) -> psutil.Process:
    """The first of the processes above it that belongs to the server."""
    mine = ("sam3-serve", "serve_app", "raylet", "ray::", "haproxy")
    above = [one for one in process.parents() if any(part in " ".join(one.cmdline()) for part in mine)]
    return above[-1] if above else process
