"""System calls that Python has no function for."""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_NO_NEW_PRIVS = 38


def call(number: int, *arguments: int) -> int:
    """The system call's result. Raises OSError."""
    result = int(_LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def address(data: ctypes.Array[ctypes.c_char]) -> int:
    """The place of a buffer in memory, as a system call wants it."""
    return ctypes.addressof(data)


def give_up_new_privileges() -> None:
    """No program of this process gains rights any more, which the kernel asks for before a filter. Raises OSError."""
    zero = ctypes.c_ulong(0)
    if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def unshare(flags: int) -> None:
    """Leave the namespaces of `flags` for new ones. Raises OSError."""
    if _LIBC.unshare(ctypes.c_int(flags)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
