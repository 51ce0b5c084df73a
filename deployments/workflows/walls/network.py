"""A network namespace without any interface that is up: there is nobody to talk to, not even this machine."""

from deployments.workflows.walls.libc import unshare

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


def leave() -> None:
    """Leave this machine's network. Raises OSError where the kernel, or a container around it, refuses."""
    try:
        unshare(_NEW_NETWORK)
    except PermissionError:  # only an administrator may; in a user namespace of its own every process is one
        unshare(_NEW_USER | _NEW_NETWORK)
