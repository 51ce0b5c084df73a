"""The program can be interrupted while it loads."""

import signal
import subprocess
import sys

from tests.support.patience import PATIENCE_S

SLOW = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "serve_app.cli.main":
            print("loading", flush=True)
            time.sleep(600)
sys.meta_path.insert(0, Slow())
from serve_app.cli.entry import main
main()
"""
LOADED = """
import signal, sys, types
commands = types.ModuleType("serve_app.cli.main")
commands.main = lambda: print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
sys.modules["serve_app.cli.main"] = commands
from serve_app.cli.entry import main
main()
"""


def started(script: str, ignored: bool = False) -> "subprocess.Popen[str]":
    """The command as a terminal starts it; ignored: as a shell starts a job in the background."""
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
    )


def test_ctrl_c_while_modules_load_ends_it_without_a_traceback() -> None:
    with started(SLOW) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == -signal.SIGINT


def test_commands_handle_ctrl_c_themselves_and_background_jobs_go_on_ignoring_it() -> None:
    for ignored in (False, True):
        with started(LOADED, ignored) as process:
            assert process.communicate(timeout=PATIENCE_S) == (f"{not ignored}\n", "")
