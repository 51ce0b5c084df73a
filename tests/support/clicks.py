"""Clicks on a real server, and a comparison of their answers."""

from typing import Any

import pytest
import requests

from harness.server import ServerProcess
from tests.support.patience import PATIENCE_S

CLICK = {"points": [{"x": 70, "y": 80, "positive": True}]}


def post(server: ServerProcess, route: str, **document: Any) -> requests.Response:
    return requests.post(f"{server.url}/sam3/{route}", json=document, timeout=PATIENCE_S)


def click(server: ServerProcess, **document: Any) -> dict[str, Any]:
    answer = post(server, "visual_segment", prompts=[CLICK], **document)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def alike(one: Any, other: Any) -> bool:
    """True if two lists of predictions are the same, but for the last digits, which batching changes."""
    return len(one) == len(other) and all(
        a["confidence"] == pytest.approx(b["confidence"], abs=1e-3)
        and a["area"] == pytest.approx(b["area"], rel=0.02)
        and a["box"] == pytest.approx(b["box"], abs=4)
        for a, b in zip(one, other, strict=True)
    )
