from datetime import datetime
from pathlib import Path

import pytest

from deployments.model.loading import STARTED
from drills.starts import starts


def logged(folder: Path, replica: str, second: int, *seconds: float) -> None:
    """A replica's log as Serve writes it."""
    file = folder / "serve" / f"replica_sam3_PromptDecoder_{replica}.log"
    file.parent.mkdir(exist_ok=True)
    stamp = f"INFO 2026-11-21 10:00:{second:02d},250 sam3_PromptDecoder {replica} -- "
    file.write_text(f"{stamp}Starting.\n{stamp}{STARTED % seconds}\n{stamp}Other things.\n")


def test_starts_are_read_in_their_order_and_add_up(tmp_path: Path) -> None:
    logged(tmp_path, "b", 20, 1.5, 2.0, 0.25, 0.75)
    logged(tmp_path, "a", 10, 1.0, 1.0, 0.5, 0.5)
    first, second = starts(tmp_path, "PromptDecoder")
    assert starts(tmp_path, "ImageEncoder") == []
    assert first.ready == datetime(2026, 11, 21, 10, 0, 10, 250_000).timestamp()
    assert second.load_s == pytest.approx(3.0)
    rows = dict(second.rows(asked=second.ready - 6, running=second.ready + 1))
    assert [float(text.removesuffix(" s")) for text in rows.values()] == [
        1.5,
        1.5,
        2.0,
        0.2,
        0.8,
        1.0,
        7.0,
        4.0,
    ]


def test_a_process_that_was_there_before_it_was_asked_for(tmp_path: Path) -> None:
    logged(tmp_path, "a", 30, 20.0, 1.0, 0.5, 0.5)
    (start,) = starts(tmp_path, "PromptDecoder")
    rows = dict(start.rows(asked=start.ready - 3, running=start.ready))
    assert rows["start: until Ray and Serve started a process"] == "0.0 s"
    assert rows["start: interpreter, Ray, Serve"] == "1.0 s"
