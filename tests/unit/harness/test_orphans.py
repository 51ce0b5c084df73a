import signal
import subprocess
import sys

import psutil
import pytest

PARENT = """
import subprocess, sys
from harness.orphans import end_with_parent
child = subprocess.Popen(["sleep", "300"], preexec_fn=end_with_parent, start_new_session=True)
print(child.pid, flush=True)
input()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_child_ends_with_a_parent_that_cannot_say_so(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.send_signal(how)
        assert parent.wait(30) == -how
        child.wait(30)
