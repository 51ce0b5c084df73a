import threading
from collections.abc import Generator
from pathlib import Path

import pyarrow as pa
import pytest

from serve_app.label import writer
from serve_app.label.dataset import Dataset
from serve_app.label.writer import Stop, write_all
from tests.support.labels import row, table


def tables(count: int) -> Generator[pa.Table, None, None]:
    for number in range(count):
        yield table(row(f"/{number}.png"))


def write(dataset: Dataset, results: Generator[pa.Table, None, None], stop: Stop = False) -> bool:
    return write_all(results, dataset, stop, lambda _: None, lambda: None)


def test_all_results_are_written_in_few_parts(tmp_path: Path) -> None:
    with Dataset.open(tmp_path) as dataset:
        assert write(dataset, tables(20))
        assert len(dataset.done()) == 20
        assert len(dataset.parts()) == 1


def test_what_came_before_an_error_is_written(tmp_path: Path) -> None:
    def failing() -> Generator[pa.Table, None, None]:
        yield from tables(3)
        raise RuntimeError("the model")

    with Dataset.open(tmp_path) as dataset:
        with pytest.raises(RuntimeError, match="the model"):
            write(dataset, failing())
        assert len(dataset.done()) == 3


def test_a_full_part_is_written_although_more_may_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PART_IMAGES", 4)
    with Dataset.open(tmp_path) as dataset:
        write(dataset, tables(10))
        assert len(dataset.parts()) == 3


def test_results_are_written_in_time_although_no_more_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PART_S", 0.0)
    written = threading.Event()

    with Dataset.open(tmp_path) as dataset:

        def waiting() -> Generator[pa.Table, None, None]:
            yield table(row("/a.png"))
            assert written.wait(60)

        def tick() -> None:
            if dataset.parts():
                written.set()

        assert write_all(waiting(), dataset, False, lambda _: None, tick)
        assert list(dataset.done()) == ["/a.png"]


def test_a_stop_keeps_what_came_and_waits_for_the_end_of_the_results(tmp_path: Path) -> None:
    asked, ended = threading.Event(), threading.Event()

    class Stop:
        def __bool__(self) -> bool:
            return asked.is_set()

    def endless() -> Generator[pa.Table, None, None]:
        try:
            for number in range(10**9):
                yield table(row(f"/{number}.png"))
        finally:
            ended.set()

    with Dataset.open(tmp_path) as dataset:
        assert not write_all(endless(), dataset, Stop(), lambda _: asked.set(), lambda: None)
        assert ended.is_set()
        assert list(dataset.done()) == ["/0.png"]


def test_a_stop_does_not_wait_for_results_that_do_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LEAVE_S", 0.1)
    asked = threading.Event()
    never = threading.Event()

    class Stop:
        def __bool__(self) -> bool:
            return asked.is_set()

    def endless() -> Generator[pa.Table, None, None]:
        yield table(row("/a.png"))
        never.wait(600)

    with Dataset.open(tmp_path) as dataset:
        assert not write_all(endless(), dataset, Stop(), lambda _: asked.set(), lambda: None)
        assert list(dataset.done()) == ["/a.png"]
    never.set()
