import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from serve_app.cli.janitor import MARK, clean, janitor, keep_folder, started_for

SLEEP = [sys.executable, "-c", "import time; time.sleep(120)"]


def in_folder(folder: Path) -> dict[str, str]:
    return {**os.environ, MARK: str(folder / "h" / "haproxy.cfg")}


def ends(process: subprocess.Popen[bytes]) -> bool:
    return process.wait(60) != 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sam3-run"
    made.mkdir()
    (made / "log").touch()
    return made


def test_only_processes_of_the_run_are_killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.cli.janitor.GRACE_S", 0.1)
    other_run = folder.with_name("sam3-run-2")
    with (
        subprocess.Popen(SLEEP, env=in_folder(folder)) as ours,
        subprocess.Popen(SLEEP, env=in_folder(other_run)) as others,
    ):
        assert [process.pid for process in started_for(folder, ())] == [ours.pid]
        clean(folder, keep=False)
        assert ends(ours)
        assert others.poll() is None
        others.kill()
    assert not folder.exists()


def test_a_process_is_known_by_its_log_too(folder: Path) -> None:
    with (folder / "log").open("w") as log, subprocess.Popen(SLEEP, stdout=log) as process:
        assert process.pid in [each.pid for each in started_for(folder, ())]
        process.kill()


def test_the_janitor_does_not_kill_the_server_itself(folder: Path) -> None:
    with (folder / "log").open("w"), janitor(folder) as cleaner:
        assert os.getpid() in [process.pid for process in started_for(folder, ())]
    assert cleaner.returncode == 0


def test_the_janitor_cleans_up_when_its_server_ends(folder: Path) -> None:
    with subprocess.Popen(SLEEP, env=in_folder(folder)) as left:
        with janitor(folder) as cleaner:
            assert left.poll() is None
        assert ends(left)
    assert cleaner.returncode == 0
    assert not folder.exists()


def test_logs_that_are_still_of_use_are_kept(folder: Path) -> None:
    with janitor(folder) as cleaner:
        keep_folder(cleaner)
    assert (folder / "log").exists()


def test_the_janitor_runs_in_a_session_of_its_own(folder: Path) -> None:
    with janitor(folder) as cleaner:
        assert os.getsid(cleaner.pid) != os.getsid(0)


def test_the_janitor_process_ends_with_the_block(folder: Path) -> None:
    with janitor(folder) as cleaner:
        process = psutil.Process(cleaner.pid)
    time.sleep(0.01)
    assert not process.is_running()
