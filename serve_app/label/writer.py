"""Writes what the pipeline finds into the parts of a data set, at regular times whether or not more arrives."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Protocol

import pyarrow as pa

from serve_app.label.dataset import Dataset

PART_IMAGES = 2048
PART_S = 10.0
"""A part is written with so many images, or after so long: a kill costs no more work than that."""
POLL_S = 0.2
LEAVE_S = 10.0
"""How long the end waits for the results to close. Ray ends a process without a word if it is shut down while a thread
still waits for its answer."""
WAITING = 4
"""Tables that wait to be written."""


class Stop(Protocol):
    """True once the run shall end."""

    def __bool__(self) -> bool: ...


@dataclass(slots=True)
class _End:
    error: BaseException | None = None


def write_all(
    results: Generator[pa.Table, None, None],
    dataset: Dataset,
    stop: Stop,
    seen: Callable[[pa.Table], None],
    tick: Callable[[], None],
) -> bool:
    """Write all results, or those until `stop`. Returns whether these are all. seen: gets each table. tick: is called
    a few times a second.

    The results are closed at the end. Raises their errors, after all that came before was written.
    """
    queue: Queue[pa.Table | _End] = Queue(WAITING)
    closed = threading.Event()
    forwarding = threading.Thread(target=_forward, args=(results, queue, closed), daemon=True)
    forwarding.start()
    buffer = _Buffer(dataset)
    try:
        while not stop:
            tick()
            buffer.write_in_time()
            try:
                found = queue.get(timeout=POLL_S)
            except Empty:
                continue
            if isinstance(found, _End):
                if found.error is not None:
                    raise found.error
                return True
            seen(found)
            buffer.add(found)
        return False
    finally:
        closed.set()
        buffer.write()
        forwarding.join(LEAVE_S)


class _Buffer:
    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._tables: list[pa.Table] = []
        self._since = 0.0

    def add(self, table: pa.Table) -> None:
        if not self._tables:
            self._since = time.monotonic()
        self._tables.append(table)

    def write_in_time(self) -> None:
        if sum(map(len, self._tables)) >= PART_IMAGES or time.monotonic() - self._since >= PART_S:
            self.write()

    def write(self) -> None:
        if self._tables:
            self._dataset.add(pa.concat_tables(self._tables))
            self._tables = []


def _forward(
    results: Generator[pa.Table, None, None], queue: "Queue[pa.Table | _End]", closed: threading.Event
) -> None:
    end = _End()
    try:
        with closing(results):
            for table in results:
                if not _put(queue, table, closed):
                    return
    except BaseException as error:
        end.error = error
    _put(queue, end, closed)


def _put(queue: "Queue[pa.Table | _End]", item: pa.Table | _End, closed: threading.Event) -> bool:
    while not closed.is_set():
        try:
            queue.put(item, timeout=POLL_S)
            return True
        except Full:
            continue
    return False
