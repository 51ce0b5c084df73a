"""Digests of checkpoints' weights that encode, read in a process of its own: the caller needs no torch.

`python -m sam3_engine.encoder_digests` reads a JSON list of [architecture, checkpoint, base] and prints a list of
{"digest": ...} or {"error": ...}. It fetches nothing from the Hub: the digest of weights that are not in its cache is
null.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from sam3_engine.errors import CheckpointError, GatedAccess, Offline

Weights = tuple[str, str | None, str | None]
"""Architecture, checkpoint and base."""


def encoder_digests(checkpoints: Sequence[Weights]) -> list[str | CheckpointError | None]:
    """One digest (`weights.encoder_digest`) for each checkpoint on this machine, the error that keeps it from being
    loaded, or None for one that is still on the Hub. Raises RuntimeError when the process fails."""
    if not checkpoints:
        return []
    command = [sys.executable, "-m", "sam3_engine.encoder_digests"]
    done = subprocess.run(  # noqa: S603 - this interpreter
        command,
        input=json.dumps(checkpoints),
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the checkpoints could not be read: {done.stderr.strip()[-2000:]}")
    found: list[dict[str, str | None]] = json.loads(done.stdout.splitlines()[-1])
    return [CheckpointError(one["error"]) if "error" in one else one["digest"] for one in found]


def _read(architecture: str, checkpoint: str | None, base: str | None) -> dict[str, Any]:
    from sam3_engine.loading import read_checkpoint
    from sam3_engine.spec import SPECS
    from sam3_engine.weights import encoder_digest

    try:
        return {"digest": encoder_digest(read_checkpoint(SPECS[architecture], checkpoint, base))}
    except (Offline, GatedAccess):
        return {"digest": None}
    except CheckpointError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps([_read(*each) for each in json.load(sys.stdin)]) + "\n")
