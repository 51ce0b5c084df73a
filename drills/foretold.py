"""The planner's figures for the load in a load test's report, beside the report's own."""

from collections.abc import Mapping
from typing import Any

from serve_app.capacity import Demand, Load

PROMPTS = {"concept": 2.0, "concept-hot": 2.5}
"""Mean prompts of a request (see loadtest/scenarios.py)."""


def loads_of(report: Mapping[str, Any]) -> list[Demand]:
    """The steady load's requests, kind by kind. Raises ValueError for a kind that the planner has no words for."""
    kinds: dict[str, Any] = {
        "click": {"click_share": 1.0},
        "embed": {"click_share": 0.0, "prompts": 0.0},
        "concept": {"click_share": 0.0, "prompts": PROMPTS["concept"]},
        "concept-hot": {"click_share": 0.0, "new_share": 0.0, "prompts": PROMPTS["concept-hot"]},
    }
    found = []
    seconds = report["timeline"][-1]["at"]
    for kind, figures in report["by_kind"].items():
        if kind == "all":
            continue
        if kind not in kinds:
            raise ValueError(f"{kind} is nothing that the planner plans")
        found.append(Demand(rps=figures["requests"] / seconds, **kinds[kind]))
    return found


def measured_load(report: Mapping[str, Any]) -> Load:
    """Cores that were in use, as the load test saw them."""
    cores = {name: group["cores"] for name, group in report["processes"].items()}
    return Load(
        sum(cores.get(name, 0.0) for name in ("Ingress", "haproxy", "pool")),
        cores.get("ImageEncoder", 0.0),
        cores.get("PromptDecoder", 0.0),
    )
