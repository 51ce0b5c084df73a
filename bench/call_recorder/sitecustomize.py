"""Records the project's functions that are called. Python imports this module first if its folder is on the path.

While the file `on` exists in the folder CALL_RECORDER, each process records every Python function of the project that
it enters. When the file is deleted, the process writes the list into this folder. For `bench.request_path`.
"""

import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType

FOLDER = Path(os.environ["CALL_RECORDER"])
ROOT = os.environ["CALL_RECORDER_ROOT"] + os.sep
PACKAGES = tuple(ROOT + name + os.sep for name in ("serve_app", "deployments", "sam3_engine"))
POLL_S = 0.02


class Recorder:
    """The functions that this process has entered since recording began."""

    def __init__(self) -> None:
        self.on = False
        self.entered: set[tuple[str, str]] = set()

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Called by the interpreter for each call in each thread."""
        if self.on and event == "call" and frame.f_code.co_filename.startswith(PACKAGES):
            self.entered.add((frame.f_code.co_filename.removeprefix(ROOT), frame.f_code.co_qualname))

    def watch(self) -> None:
        """Start recording when the file `on` appears, and stop when it is deleted."""
        while True:
            time.sleep(POLL_S)
            wanted = (FOLDER / "on").exists()
            if self.on and not wanted:
                self.on = False
                lines = [f"{file}\t{name}" for file, name in self.entered]
                self.entered = set()
                if lines:
                    (FOLDER / f"{os.getpid()}.txt").write_text("\n".join(lines))
            self.on = wanted


recorder = Recorder()
threading.Thread(target=recorder.watch, name="call-recorder", daemon=True).start()
threading.setprofile(recorder.profile)
sys.setprofile(recorder.profile)
