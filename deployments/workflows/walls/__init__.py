"""The kernel's walls around a worker. Python's own (see `limits`) hold for the code of steps; these hold for any code.

Each wall stands where the kernel has it, and the names of the others are returned: an old kernel, or a container's
own seccomp profile, may refuse one.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deployments.workflows.walls import landlock, network, seccomp

NAMES = ("Landlock for files", "seccomp for processes, signals and sockets", "an empty network namespace")


def raise_walls(writable: Path, readable: Sequence[Path]) -> tuple[str, ...]:
    """Confine this process and its future threads for good. Returns the walls of NAMES that this kernel refuses.

    writable: the only folder whose files may be made, changed and deleted. readable: the other folders and files that
    may be read. The process must have one thread.
    """
    files, calls, net = NAMES
    walls: tuple[tuple[str, Callable[[], None]], ...] = (
        (net, network.leave),
        (files, lambda: landlock.restrict(writable, readable)),
        (calls, seccomp.restrict),  # last: it forbids calls that the others need
    )
    return tuple(name for name, wall in walls if not _stands(wall))


def _stands(wall: Callable[[], None]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        wall()
    except OSError:
        return False
    return True
