"""Landlock (Linux 5.13 and later): the files that a process reaches; no TCP port, and no signal to other processes,
from the versions that can.

https://docs.kernel.org/userspace-api/landlock.html has the numbers.
"""

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from deployments.workflows.walls.libc import address, call, give_up_new_privileges

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(1, 6))
_MAKE_DIR, _MAKE_REG, _TRUNCATE = 1 << 7, 1 << 8, 1 << 14
_READ = _READ_FILE | _READ_DIR
_WRITE = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE
_OF_FILES = _READ_FILE | _WRITE_FILE | _TRUNCATE
_TCP = 0b11
"""The rights to bind and to connect."""
_SCOPES = 0b11
"""Abstract Unix sockets and signals of other processes."""


def version() -> int:
    """The version of Landlock's interface. Raises OSError where the kernel has none."""
    return call(_CREATE, 0, 0, _VERSION)


def restrict(writable: Path, readable: Sequence[Path]) -> None:
    """Let this process read only below `readable` and `writable`, change only files below `writable`, and execute
    nothing. Raises OSError where the kernel has no Landlock."""
    has = version()
    handled = (1 << (13 + (has >= 2) + (has >= 3) + (has >= 5))) - 1
    rules = struct.pack("=QQQ", handled, _TCP, _SCOPES)[: 8 if has < 4 else 16 if has < 6 else 24]
    buffer = ctypes.create_string_buffer(rules, len(rules))
    ruleset = call(_CREATE, address(buffer), len(rules), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ & handled)
        _allow(ruleset, writable, (_READ | _WRITE) & handled)
        give_up_new_privileges()
        call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # there is nothing to be allowed
    try:
        if not path.is_dir():
            rights &= _OF_FILES
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, place), 12)
        call(_ADD_RULE, ruleset, _PATH_BENEATH, address(rule), 0)
    finally:
        os.close(place)
