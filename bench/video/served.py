"""Frames a second of a server beside the same work in one process, and how many sessions share a decoder."""

import contextlib
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from deployments.model.memory import TRACKS_ON_A_CPU
from harness.drawn_clip import TEXTS, write_clip
from harness.server import ServerProcess, server_process
from sam3_engine.engine import Engine
from sam3_engine.regions import mask_of_array
from sam3_engine.rle import to_rle
from sam3_engine.tracking.following import follow
from sam3_engine.tracking.sessions import Rules, Session
from sam3_engine.types import ConceptPrompt
from sam3_engine.video_files.reading import open_video
from serve_app.video_client import VideoClient

SESSIONS = (1, 2, 4)
EVERY = 10


@dataclass(frozen=True, slots=True)
class Served:
    """Frames a second, medians of turns: of one process without a server, and of a server by the number of sessions at
    once. cpu: CPU seconds a frame, of all processes; "alone": without a server. held: sessions of three objects whose
    states a decoder on a CPU keeps."""

    alone: float
    rates: dict[int, float]
    cpu: dict[str, float]
    held: int


def served(engine: Engine, frames: int, turns: int, sessions: Sequence[int] = SESSIONS) -> Served:
    """Start a server with `tiny`, and measure it and the engine in turns."""
    rates: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="sam3-bench-") as name:
        clip = write_clip(Path(name) / "clip.mp4", frames)
        with server_process(Path(name), model="tiny", video_sessions=str(2 * max(sessions))) as server:
            for _, count in ((turn, count) for turn in range(turns + 1) for count in (0, *sessions)):
                key = f"{count}" if count else "alone"
                before, began = _cpu_s(server), time.perf_counter()
                own = time.process_time()
                if count:
                    with ThreadPoolExecutor(count) as pool:
                        answered = sum(pool.map(lambda _: _ask(server, clip), range(count)))
                else:
                    answered, nbytes = _alone(engine, clip)
                seconds = time.perf_counter() - began
                cpu = _cpu_s(server) - before if count else time.process_time() - own
                rates.setdefault(key, []).append(answered / seconds)
                cpus.setdefault(key, []).append(cpu / answered)
    median = {key: float(np.median(all_[1:])) for key, all_ in rates.items()}  # the first turn warms up
    return Served(
        median["alone"],
        {count: median[f"{count}"] for count in sessions},
        {key: float(np.median(all_[1:])) for key, all_ in cpus.items()},
        TRACKS_ON_A_CPU // (2 * nbytes),  # a decoder holds the states before and after a job
    )


def _ask(server: ServerProcess, clip: Path) -> int:
    with VideoClient(server.url) as client:
        return sum(1 for _ in client.file(clip, texts=TEXTS, every=EVERY))


def _alone(engine: Engine, clip: Path) -> tuple[int, int]:
    """Frames, and bytes of the session after them. Masks are encoded, as a server's are."""
    session = Session(Rules(tuple(ConceptPrompt(text) for text in TEXTS), EVERY))
    count = 0
    with open_video(clip) as video:
        for frame, answer in follow(engine, video.frames(), session):
            count, session = count + 1, answer.session
            for shown in answer.shown:
                to_rle(mask_of_array(shown.mask_logits.numpy(), frame.size))
    return count, session.nbytes


def _cpu_s(server: ServerProcess) -> float:
    total = 0.0
    for process in server.descendants():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total
