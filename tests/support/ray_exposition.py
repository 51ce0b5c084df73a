"""Figures as Ray 2.60 exports them on a node after a process has reported them: histograms arrive as counters."""

from deployments.observe.metrics import Metrics


def reported(metrics: Metrics, *processes: str) -> str:
    """Each process, given by its labels as text, has reported these figures."""
    lines: dict[str, None] = {}
    for family, sample in metrics.samples():
        kind = "gauge" if family.type == "gauge" else "counter"
        name = f"ray_{sample.name}"
        if kind == "counter" and not name.endswith("_total"):
            name += "_total"
        lines |= dict.fromkeys((f"# HELP {name} {family.documentation}", f"# TYPE {name} {kind}"))
        if kind == "gauge" or sample.value > 0:  # Ray counts no zeros
            labels = "".join(f',{label}="{value}"' for label, value in sample.labels.items())
            lines |= dict.fromkeys(f"{name}{{{process}{labels}}} {sample.value}" for process in processes)
    return "\n".join([*lines, ""])
