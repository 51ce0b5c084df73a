"""A seccomp filter: system calls that no step needs fail with EPERM. Threads start, processes do not.

The numbers are those of the kernel's tables for x86_64 and aarch64; the calls from 424 on have one number everywhere.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator

from deployments.workflows.walls.libc import address, call, give_up_new_privileges

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_CLONE = {"x86_64": 56, "aarch64": 220}
_TO_ITSELF = {"x86_64": (62, 234), "aarch64": (129, 131)}
"""kill and tgkill: allowed with the process's own id, for abort()."""
_PRLIMIT = {"x86_64": 302, "aarch64": 261}

# name: x86_64, aarch64. None: that machine lacks the call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # processes and programs
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "setpriority": (141, 140),
    # signals
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    # sockets: the one to the runner is open already
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # rights of files, which Landlock does not know
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    # the machine
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
}
_CLONE3 = 435
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000
"""From this number on, x86_64's calls are those of its 32-bit pointers."""

_SET_MODE_FILTER = 1
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16
"""Places in the data that a filter sees; of an argument the lower half."""


def restrict() -> None:
    """Put the filter on this process for good; its future threads have it too. Raises OSError where the kernel, or
    this kind of machine, has none."""
    machine = platform.machine()
    if machine not in _AUDIT_ARCH:
        raise OSError(errno.ENOSYS, f"no filter for {machine}")
    steps = list(_program(machine, os.getpid()))
    data = b"".join(struct.pack("=HBBI", *step) for step in steps)
    code = ctypes.create_string_buffer(data, len(data))
    header = struct.pack("@HP", len(steps), address(code))
    program = ctypes.create_string_buffer(header, len(header))
    give_up_new_privileges()
    call(_SECCOMP[machine], _SET_MODE_FILTER, 0, address(program))


Step = tuple[int, int, int, int]
"""An instruction of a filter: operation, steps to skip if true and if not, operand."""


def _program(machine: str, pid: int) -> Iterator[Step]:
    refuse, allow = (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)
    yield _LOAD, 0, 0, _ARCH
    yield _EQUAL, 1, 0, _AUDIT_ARCH[machine]
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    if machine == "x86_64":
        yield _AT_LEAST, 0, 1, _X32
        yield refuse
    column = 0 if machine == "x86_64" else 1
    for numbers in _REFUSED.values():
        if (number := numbers[column]) is not None:
            yield _EQUAL, 0, 1, number
            yield refuse
    yield _EQUAL, 0, 1, _CLONE3  # whose flags a filter cannot see: without it, the C library uses clone
    yield _RETURN, 0, 0, _ERRNO | errno.ENOSYS
    yield _EQUAL, 0, 4, _CLONE[machine]
    yield _LOAD, 0, 0, _ARGUMENT
    yield _ANY_BIT, 0, 1, _CLONE_THREAD
    yield allow
    yield refuse
    for number in _TO_ITSELF[machine]:
        yield _EQUAL, 0, 4, number
        yield _LOAD, 0, 0, _ARGUMENT
        yield _EQUAL, 0, 1, pid
        yield allow
        yield refuse
    yield _EQUAL, 0, 5, _PRLIMIT[machine]
    yield _LOAD, 0, 0, _ARGUMENT
    yield _EQUAL, 1, 0, 0
    yield _EQUAL, 0, 1, pid
    yield allow
    yield refuse
    yield allow
