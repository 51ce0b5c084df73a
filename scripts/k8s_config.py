"""Writes the files of k8s/ that are made from others; `--check` only compares.

`chart/files/environment.env`: the environment of Ray and Serve, as `sam3-serve up` sets it, for pods.
`chart/values.schema.json`: the names of the settings in it; the rest is written by hand.
`rendered/*.yaml`: the chart's manifests for some of its examples, for readers and for clusters without Helm.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.helm_chart import example, manifests
from serve_app.cli.ray_environment import PODS, SERVING, SEVERAL_MACHINES, proxy
from serve_app.settings import Settings

K8S = Path(__file__).resolve().parents[1] / "k8s"
HEAD = "# Written by `python -m scripts.k8s_config`.\n"
ENVIRONMENT = K8S / "chart" / "files" / "environment.env"
SCHEMA = K8S / "chart" / "values.schema.json"
RENDERED = ("demo", "gpu", "ha")
OFFLINE = {"HF_HUB_OFFLINE": "1"}
"""Weights come from the volume, with any settings: GPU pods reach no network."""


@contextmanager
def no_settings_in_environment() -> Iterator[None]:
    """Removes settings from the environment, so that the written files do not depend on it."""
    kept = dict(os.environ)
    for name in [name for name in kept if name.upper().startswith("SAM3_")]:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


def environment() -> str:
    """The pods' environment, as a file of lines."""
    with no_settings_in_environment():
        variables = {**SERVING, **proxy(Settings()), **PODS, **SEVERAL_MACHINES, **OFFLINE}
    return HEAD + "".join(f"{name}={value}\n" for name, value in sorted(variables.items()))


def schema() -> str:
    """The schema of the chart's values, with the names of all settings."""
    found = json.loads(SCHEMA.read_text(encoding="utf-8"))
    found["properties"]["settings"]["propertyNames"] = {"enum": sorted(Settings.model_fields)}
    return json.dumps(found, indent=2) + "\n"


def write(path: Path, text: str, check: bool) -> bool:
    """Bring a file up to date; with `check`, print that it is not. Returns True if it was out of date."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    if check:
        print(
            f"{path.relative_to(K8S.parent)} is out of date: run python -m scripts.k8s_config",
            file=sys.stderr,
        )
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return True


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = [write(ENVIRONMENT, environment(), check)]  # before the chart reads it
    stale.append(write(SCHEMA, schema(), check))
    stale += [
        write(K8S / "rendered" / f"{name}.yaml", HEAD + manifests(example(name)), check) for name in RENDERED
    ]
    return int(check and any(stale))


if __name__ == "__main__":
    sys.exit(main())
