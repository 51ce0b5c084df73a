"""The chart of k8s/chart, rendered as `helm template` does: by Helm's own library, without a cluster."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import helm_python as helm

CHART = Path(__file__).resolve().parents[1] / "k8s" / "chart"
EXAMPLES: Mapping[str, Sequence[str]] = {
    "demo": ("demo",),
    "gpu": ("gpu",),
    "scale-to-zero": ("gpu", "scale-to-zero"),
    "air-gapped": ("gpu", "air-gapped"),
    "several-models": ("gpu", "several-models"),
    "label": ("gpu", "label"),
    "ha": ("ha",),
    "incremental-upgrade": ("ha", "incremental-upgrade"),
    "eight-gpus": ("ha", "eight-gpus"),
}
"""Each example's files of values, the later ones over the earlier ones, as several `-f` of helm."""
NAME = NAMESPACE = "sam3"
"""Name and namespace of the release, as the guide has it."""


def values(files: Sequence[Path]) -> dict[str, Any]:
    """The values of several files. `null` stays: it removes a default of the chart."""
    found: dict[str, Any] = {}
    for file in files:
        _merge(found, helm.values_from_yaml(file.read_text(encoding="utf-8")))
    return found


def example(name: str) -> dict[str, Any]:
    """An example's values."""
    return values([CHART / "examples" / f"{file}.yaml" for file in EXAMPLES[name]])


def merged(given: Mapping[str, Any]) -> dict[str, Any]:
    """All values: the given ones laid over the chart's."""
    with helm.Chart.load(CHART) as chart:
        return chart.merge_values(dict(given))


def render(given: Mapping[str, Any], name: str = NAME, namespace: str = NAMESPACE) -> dict[str, str]:
    """Manifests by their template's path. Raises helm.HelmValuesError for values that the schema refuses, and
    helm.HelmRenderError."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(dict(given))
        every = chart.render(dict(given), name=name, namespace=namespace)
    return {path: text for path, text in sorted(every.items()) if text.strip() and path.endswith(".yaml")}


def notes(given: Mapping[str, Any]) -> str:
    """The notes that `helm install` prints at its end."""
    with helm.Chart.load(CHART) as chart:
        return chart.render(dict(given), name=NAME, namespace=NAMESPACE)["sam3-serve/templates/NOTES.txt"]


def manifests(given: Mapping[str, Any]) -> str:
    """All manifests as one text, for `kubectl apply -f`."""
    return "".join(f"---\n# Source: {path}\n{text.strip()}\n" for path, text in render(given).items())


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
