"""A journal survives any interruption, and belongs to one run."""

from pathlib import Path
from typing import Any

import pytest

from serve_app.track.journal import Journal, JournalInUse, Line, OtherRun

ASKED: dict[str, Any] = {"texts": ["star"], "points": [(1.0, 2.0, True)]}


def line(frame: int) -> Line:
    return Line(frame=frame, seconds=frame / 25, size=[4, 6], objects=[])


def frames(journal: Journal) -> list[int]:
    return [one["frame"] for one in journal.lines()]


def test_a_run_goes_on_from_the_last_session(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with Journal(folder, ASKED) as journal:
        assert journal.resume() is None
        journal.add([line(0), line(1)], b"after frame 1")
        journal.add([line(2)])
    with Journal(folder, ASKED) as journal:
        assert journal.resume() == b"after frame 1"
        assert frames(journal) == [0, 1]
        journal.add([line(2)], b"after frame 2")
        assert frames(journal) == [0, 1, 2]
    with Journal(folder, ASKED) as journal:
        assert journal.resume() == b"after frame 2"


def test_a_run_that_saved_no_session_begins_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "work", ASKED) as journal:
        journal.add([line(0)])
    with Journal(tmp_path / "work", ASKED) as journal:
        assert journal.resume() is None
        journal.add([line(0)], b"s")
        assert frames(journal) == [0]


def test_a_line_that_was_cut_is_written_again(tmp_path: Path) -> None:
    """As after kill -9 in the middle of a write."""
    with Journal(tmp_path / "work", ASKED) as journal:
        journal.add([line(0)], b"after frame 0")
    with (tmp_path / "work" / "journal.jsonl").open("ab") as file:
        file.write(b'{"frame":1,"sec')
    with Journal(tmp_path / "work", ASKED) as journal:
        assert journal.resume() == b"after frame 0"
        assert frames(journal) == [0]


def test_a_run_that_was_asked_for_something_else_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "work", ASKED) as journal:
        journal.add([line(0)], b"s")
    other = ASKED | {"texts": ["circle"]}
    with pytest.raises(OtherRun, match="--restart"), Journal(tmp_path / "work", other):
        pass
    with Journal(tmp_path / "work", other, restart=True) as journal:
        assert journal.resume() is None


def test_a_run_that_has_found_nothing_stands_in_no_other_ones_way(tmp_path: Path) -> None:
    """As after a wrong path or a box outside the frame, and after kill -9 before the first session was saved."""
    folder = tmp_path / "work"
    with pytest.raises(ValueError, match="no video"), Journal(folder, ASKED):
        raise ValueError("no video")
    assert list(tmp_path.iterdir()) == []
    killed = Journal(folder, ASKED).__enter__()
    killed.add([line(0)])
    killed._lock.release()  # as the system does
    with Journal(folder, ASKED | {"texts": ["circle"]}) as journal:
        assert journal.resume() is None
        journal.add([line(0)], b"s")
        assert frames(journal) == [0]


def test_two_runs_do_not_share_a_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "work", ASKED):
        with pytest.raises(JournalInUse), Journal(tmp_path / "work", ASKED):
            pass
        with pytest.raises(JournalInUse), Journal(tmp_path / "work", ASKED, restart=True):
            pass


def test_a_finished_run_leaves_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path / "work", ASKED) as journal:
        journal.add([line(0)], b"s")
        journal.remove()
    assert list(tmp_path.iterdir()) == []
