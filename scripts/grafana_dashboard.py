"""Writes k8s/monitoring/dashboard.json: `python -m scripts.grafana_dashboard`. The table below lists the panels."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "k8s" / "monitoring" / "dashboard.json"
WIDTH, HEIGHT, PER_ROW = 8, 7, 3
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """One graph. queries: PromQL and the legend of its series."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    stacked: bool = False
    text: str = ""


def quantiles(series: str, by: str) -> tuple[tuple[str, str], ...]:
    """p50 and p99 of a recorded histogram, by a label."""
    summed = f"sum by ({by}, le) ({series})"
    return tuple((f"histogram_quantile({q}, {summed})", f"p{q * 100:.0f} {{{{{by}}}}}") for q in (0.5, 0.99))


def objective(name: str) -> tuple[tuple[str, str], ...]:
    """The share of requests that missed an objective, over two windows."""
    return tuple((f"sam3:{name}:ratio{window}", window) for window in ("5m", "1h"))


DEPLOYMENTS = "{{deployment}}"
MEAN_BATCH = "sum by (stage) (sam3:batch_size_sum:rate5m) / sum by (stage) (sam3:batch_size_count:rate5m)"
STARTS = "sum by (deployment) (sam3:replica_starts:increase15m)"
MEMORY = "max by (node) (ray_node_mem_used / (ray_node_mem_used + ray_node_mem_available))"
HOT_SHARE = (
    'sum by (model) (sam3:cache_lookups:rate5m{tier="hot"}) / sum by (model) (sam3:cache_lookups:rate5m)'
)
TENANTS = "topk(15, sum by (tenant) (sam3:tenant_requests:rate5m))"
ROWS: dict[str, tuple[Panel, ...]] = {
    "Traffic": (
        Panel("Requests", "reqps", (("sum by (route) (sam3:requests:rate5m)", "{{route}}"),), stacked=True),
        Panel("Answers", "reqps", (("sum by (status) (sam3:requests:rate5m)", "{{status}}"),), stacked=True),
        Panel("Being answered now", "short", (("sum by (route) (sam3:in_flight)", "{{route}}"),)),
        Panel("Bytes", "Bps", (("sum by (direction) (sam3:http_bytes:rate5m)", "{{direction}}"),)),
        Panel("Share of 5xx", "percentunit", objective("unavailable")),
        Panel("Share of slow visual prompts", "percentunit", objective("slow")),
    ),
    "Latency": (
        Panel("By route", "s", quantiles('sam3:request_seconds_bucket:rate5m{route=~"/sam3/.*"}', "route")),
        Panel("By stage", "s", quantiles("sam3:stage_seconds_bucket:rate5m", "stage")),
        Panel(
            "Time spent, by stage",
            "s",
            (("sum by (stage) (sam3:stage_seconds_sum:rate5m)", "{{stage}}"),),
            stacked=True,
            text="Seconds of every second, all requests together: what the machines are busy with.",
        ),
        Panel(
            "Batch size, mean",
            "short",
            ((MEAN_BATCH, "{{stage}}"),),
        ),
        Panel("Time to load a model", "s", (("max by (deployment) (sam3_model_load_seconds)", DEPLOYMENTS),)),
    ),
    "Models": (
        Panel("Requests by model", "reqps", (("sum by (model) (sam3:requests:rate5m)", "{{model}}"),)),
        Panel(
            "Latency by model",
            "s",
            quantiles('sam3:request_seconds_bucket:rate5m{route=~"/sam3/.*"}', "model"),
            text="A model that slept shows the time to start it.",
        ),
        Panel(
            "Images in a decoder's memory, by model",
            "percentunit",
            ((HOT_SHARE, "{{model}}"),),
            text="Share of requests whose image the decoder held already.",
        ),
    ),
    "Cache": (
        Panel(
            "Where images were found",
            "percentunit",
            (
                (
                    "sum by (tier) (sam3:cache_lookups:rate5m) / scalar(sum(sam3:cache_lookups:rate5m))",
                    "{{tier}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Images encoded",
            "ops",
            (("sum by (cause) (sam3:images_encoded:rate5m)", "{{cause}}"),),
            stacked=True,
        ),
        Panel(
            "Images dropped",
            "ops",
            (("sum by (tier, reason) (sam3:evictions:rate5m)", "{{tier}}, {{reason}}"),),
        ),
        Panel("Bytes held", "bytes", (("sum by (tier) (sam3:pool_bytes)", "{{tier}}"),), stacked=True),
        Panel("Images held", "short", (("sum by (tier) (sam3:pool_entries)", "{{tier}}"),)),
        Panel(
            "Object store",
            "percentunit",
            (("sam3:object_store:ratio", "used, {{node}}"),),
            text="Embeddings are kept under 60 % of it by default.",
        ),
    ),
    "Store": (
        Panel(
            "Round trips",
            "ops",
            (
                ("sum by (operation) (sam3:store_seconds_count:rate5m)", "{{operation}}"),
                ("sum by (operation) (sam3:store_errors:rate5m)", "failed, {{operation}}"),
            ),
            text="Failed ones: docs/store.md.",
        ),
        Panel("Time of a round trip", "s", quantiles("sam3:store_seconds_bucket:rate5m", "operation")),
        Panel(
            "Bytes of image files",
            "bytes",
            (("max by (tenant_class) (sam3_store_bytes)", "{{tenant_class}}"),),
            stacked=True,
            text="By tenant: the one that holds most, and all others.",
        ),
    ),
    "Autoscaling": (
        Panel(
            "Ready processes",
            "short",
            (
                ("sum by (part) (sam3:processes)", "{{part}}"),
                ("max by (deployment) (sam3:target_replicas)", "target {{deployment}}"),
            ),
        ),
        Panel("Waiting for a replica", "short", (("sum by (deployment) (sam3:queued)", DEPLOYMENTS),)),
        Panel(
            "Wait for the model",
            "s",
            (
                *quantiles('sam3:stage_seconds_bucket:rate5m{stage="queue"}', "stage"),
                ("max by (stage) (sam3:queue_age_seconds)", "oldest now, {{stage}}"),
            ),
        ),
        Panel("Replicas started, 15 min", "short", ((STARTS, DEPLOYMENTS),)),
        Panel("Nodes", "short", (("max by (state) (sam3_nodes)", "{{state}}"),)),
    ),
    "Tenants": (
        Panel("Requests by tenant", "reqps", ((TENANTS, "{{tenant}}"),)),
        Panel(
            "Refused or failed, by tenant",
            "reqps",
            (('topk(15, sum by (tenant) (sam3:tenant_requests:rate5m{status=~"[45].."}))', "{{tenant}}"),),
        ),
        Panel(
            "Prompts by tenant",
            "ops",
            (("topk(15, sum by (tenant) (sam3:tenant_prompts:rate5m))", "{{tenant}}"),),
        ),
    ),
    "GPU and machines": (
        Panel(
            "GPU busy", "percent", (("max by (node, gpu) (ray_node_gpus_utilization)", "{{node}} {{gpu}}"),)
        ),
        Panel(
            "GPU memory", "percentunit", (("max by (node, gpu) (sam3:gpu_memory:ratio)", "{{node}} {{gpu}}"),)
        ),
        Panel("CPU busy", "percent", (("max by (node) (ray_node_cpu_utilization)", "{{node}}"),)),
        Panel("Memory", "percentunit", ((MEMORY, "{{node}}"),)),
    ),
}


def dashboard() -> dict[str, Any]:
    """Grafana's model of the dashboard."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        place = {"x": 0, "y": y, "w": WIDTH * PER_ROW, "h": 1}
        head = {"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": []}
        panels.append({**head, "gridPos": place})
        y += 1
        for index, panel in enumerate(row):
            x, line = index % PER_ROW, index // PER_ROW
            place = {"x": x * WIDTH, "y": y + line * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append(_graph(len(panels) + 1, panel, place))
        y += -(-len(row) // PER_ROW) * HEIGHT
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": "sam3-serve",
        "title": "SAM 3 serve",
        "description": "Needs the recording rules of rules.yaml.",
        "tags": ["sam3-serve"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


def _graph(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    custom = {
        "fillOpacity": 20 if panel.stacked else 0,
        "stacking": {"mode": "normal" if panel.stacked else "none"},
    }
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "gridPos": place,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": DATASOURCE}
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }


def text() -> str:
    """The content of the file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
