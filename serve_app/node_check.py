"""A check that a node can hold the model, before anything is loaded.

    python -m serve_app.node_check --driver --weights FILE

It runs in an init container of GPU pods. It imports neither torch nor Ray, so that it answers at once.
"""

import argparse
import ctypes
import re
import sys
import time
from importlib.util import find_spec
from pathlib import Path

POLL_S = 5.0
TELL_S = 60.0
LEAST_DRIVER = {12: "525", 13: "580"}
"""The oldest driver of each CUDA major version, by NVIDIA's table of minor version compatibility."""


class NotReady(Exception):
    """The node cannot hold the model; the message says what to change."""


def built_for(package: str = "torch") -> str | None:
    """The CUDA version that an installed torch was built for, such as "13.2"; None for a torch of CPUs, or none."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    version = Path(spec.origin).with_name("version.py")
    found = re.search(r"^cuda\b[^=]*= '([\d.]+)'", version.read_text(encoding="utf-8"), re.MULTILINE)
    return found and found.group(1)


def driver_supports(library: str = "libcuda.so.1") -> tuple[int, int] | None:
    """The newest CUDA version that this node's driver knows; None without a driver. It needs no GPU."""
    try:
        version = ctypes.c_int()
        failed = ctypes.CDLL(library).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return None if failed else (version.value // 1000, version.value % 1000 // 10)


def check_driver(built: str | None, supported: tuple[int, int] | None) -> str:
    """A line with the CUDA versions of driver and torch. Within one major version an older driver runs newer programs.

    Raises NotReady where the driver is too old.
    """
    if built is None:
        return "this torch uses no GPU"
    if supported is None:
        return "no NVIDIA driver is visible here: not checked"
    major = int(built.partition(".")[0])
    knows = ".".join(map(str, supported))
    if supported[0] < major:
        raise NotReady(
            f"torch was built for CUDA {built}, and this node's driver knows CUDA {knows} at most: install driver"
            f" {LEAST_DRIVER.get(major, 'of that version')} or newer, or build the image for CUDA {supported[0]}"
            " (--build-arg CUDA_WHEELS, docs/kubernetes.md)"
        )
    return f"driver: CUDA {knows}; torch: CUDA {built}"


def wait_for(file: Path, within_s: float, poll_s: float = POLL_S) -> str:
    """Wait until a file is there and not empty. Raises NotReady at the deadline."""
    ends, told = time.monotonic() + within_s, float("-inf")
    while not (file.is_file() and file.stat().st_size):
        now = time.monotonic()
        if now >= ends:
            there = sorted(each.name for each in file.parent.iterdir()) if file.parent.is_dir() else None
            shows = "is missing" if there is None else f"holds {', '.join(there) or 'nothing'}"
            raise NotReady(
                f"{file} was not there within {within_s:g} s: {file.parent} {shows}. Look at the Job or the volume"
                " that brings the checkpoint (docs/kubernetes.md#a-pod-is-stuck)"
            )
        if now - told >= TELL_S:
            print(f"waiting for {file}, {ends - now:.0f} s more", flush=True)  # noqa: T201 - the pod's log
            told = now
        time.sleep(min(poll_s, ends - now))
    return f"{file}: {file.stat().st_size} bytes"


def main(arguments: list[str] | None = None) -> int:
    """0 when the node is ready, else 1 and a message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--driver", action="store_true", help="compare the NVIDIA driver with torch's CUDA")
    parser.add_argument("--weights", type=Path, help="a file to wait for")
    parser.add_argument(
        "--hold", type=float, default=0.0, help="seconds that a failure waits, so that somebody can read it"
    )
    parser.add_argument("--within", type=float, default=1800.0, help="seconds to wait for it")
    options = parser.parse_args(arguments)
    try:
        if options.driver:
            print(check_driver(built_for(), driver_supports()), flush=True)  # noqa: T201 - the pod's log
        if options.weights:
            print(wait_for(options.weights, options.within), flush=True)  # noqa: T201 - the pod's log
    except NotReady as error:
        print(f"not ready: {error}", file=sys.stderr)  # noqa: T201 - the pod's log
        # KubeRay deletes a pod whose init container failed at once, and its log with it.
        sys.stderr.flush()
        time.sleep(options.hold)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
