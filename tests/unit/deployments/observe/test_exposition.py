import dataclasses
import shutil
import subprocess
from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deployments.observe.exposition import Merged
from deployments.observe.metrics import NAMES, Metric, Metrics
from deployments.ray.metrics import RAYS
from tests.support.ray_exposition import reported

PROCESS = (
    'Component="core_worker",NodeAddress="{node}",SessionName="s",Version="2.60.0",'
    'WorkerId="{worker}",replica="r{worker}"'
)
SERVES = """# HELP ray_serve_deployment_queued_queries Queries that wait.
# TYPE ray_serve_deployment_queued_queries gauge
ray_serve_deployment_queued_queries{{{process},deployment="PromptDecoder",handle="h{worker}"}} 3.0
# HELP ray_serve_autoscaling_target_replicas The target.
# TYPE ray_serve_autoscaling_target_replicas gauge
ray_serve_autoscaling_target_replicas{{{process},deployment="PromptDecoder"}} {worker}
# HELP ray_node_gram_used Memory of a GPU in use.
# TYPE ray_node_gram_used gauge
ray_node_gram_used{{ip="{node}",GpuIndex="0",GpuDeviceName="H200",SessionName="s"}} 1024.0
# HELP ray_serve_http_request_latency_ms Of no use here.
# TYPE ray_serve_http_request_latency_ms gauge
ray_serve_http_request_latency_ms{{{process}}} 5.0
# HELP ray_serve_deployment_queued_queries_of_somebody A longer name.
# TYPE ray_serve_deployment_queued_queries_of_somebody gauge
ray_serve_deployment_queued_queries_of_somebody 5.0
"""


def merge(expositions: Iterable[str]) -> bytes:
    merged = Merged()
    for text in expositions:
        merged.read(text)
    return merged.text()


def exported(metrics: Metrics, node: str, *workers: int) -> str:
    """A node's exposition when each of these processes has reported the same figures."""
    processes = {worker: PROCESS.format(node=node, worker=worker) for worker in workers}
    serves = (SERVES.format(process=processes[worker], node=node, worker=worker) for worker in workers)
    return reported(metrics, *processes.values()) + "".join(serves)


def some() -> Metrics:
    """Something of every metric."""
    metrics = Metrics()
    for field in dataclasses.fields(NAMES):
        metric: Metric = getattr(NAMES, field.name)
        labels = dict.fromkeys(metric.labels, "some")
        match metric.kind:
            case "counter":
                metrics.add(metric, 3, **labels)
            case "gauge":
                metrics.set(metric, 5, **labels)
            case "histogram":
                for value in (metric.boundaries[2], metric.boundaries[-1] * 2):
                    metrics.observe(metric, value, **labels)
    return metrics


def samples(*texts: str) -> dict[str, float]:
    """Samples as `name{labels}`."""
    return {
        f"{sample.name}{{{','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(merge(texts).decode())
        for sample in family.samples
    }


def test_processes_of_a_node_are_one_series_and_nodes_are_apart() -> None:
    metrics = Metrics()
    metrics.add(NAMES.images_encoded, 3, cause="new")
    metrics.set(NAMES.pool_bytes, 10, tier="warm")
    metrics.set(NAMES.model_load_seconds, 7)
    text = exported(metrics, "a", 1, 2)
    other = Metrics()
    other.add(NAMES.images_encoded, 5, cause="new")
    found = samples(text, exported(other, "b", 3))
    assert found["sam3_images_encoded_total{cause=new,node=a}"] == 6
    assert found["sam3_images_encoded_total{cause=new,node=b}"] == 5
    assert found["sam3_pool_bytes{node=a,tier=warm}"] == 20
    assert found["sam3_model_load_seconds{node=a}"] == 7


def test_histograms_are_whole_again_with_their_exact_sums() -> None:
    metrics = Metrics()
    for seconds in (0.003, 0.004, 50.0, 500.0):
        metrics.observe(NAMES.stage_seconds, seconds, stage="prompt")
    text = exported(metrics, "a", 1, 2)
    found = samples(text)
    bucket = "sam3_stage_seconds_bucket{{le={},node=a,stage=prompt}}"
    assert [found[bucket.format(le)] for le in ("0.001", "0.005", "30.0", "60.0", "+Inf")] == [0, 4, 4, 6, 8]
    assert found["sam3_stage_seconds_count{node=a,stage=prompt}"] == 8
    assert found["sam3_stage_seconds_sum{node=a,stage=prompt}"] == pytest.approx(2 * 550.007)
    buckets = [name for name in found if name.startswith("sam3_stage_seconds_bucket")]
    assert len(buckets) == len(NAMES.stage_seconds.boundaries) + 1, "empty ones as well"


def test_of_rays_own_only_what_is_used_and_by_its_meaning() -> None:
    found = samples(exported(Metrics(), "a", 1, 2))
    assert found == {
        "ray_serve_deployment_queued_queries{deployment=PromptDecoder,node=a}": 6,
        "ray_serve_autoscaling_target_replicas{deployment=PromptDecoder,node=a}": 2,
        "ray_node_gram_used{gpu=0,node=a}": 1024,
    }


def test_no_label_names_a_process_or_a_session() -> None:
    labels = {
        label
        for family in text_string_to_metric_families(merge([exported(some(), "a", 1, 2)]).decode())
        for sample in family.samples
        for label in sample.labels
    }
    own = {label for field in dataclasses.fields(NAMES) for label in getattr(NAMES, field.name).labels}
    assert labels <= own | {"node", "deployment", "le", "gpu", "state"}


def test_every_metric_of_ours_comes_through() -> None:
    text = merge([exported(some(), "a", 1)]).decode()
    for field in dataclasses.fields(NAMES):
        metric: Metric = getattr(NAMES, field.name)
        assert f"# TYPE {metric.name} {metric.kind}" in text


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus"
)
def test_promtool_finds_nothing_wrong() -> None:
    rays = "".join(
        f"# HELP {ray.name} Ray's own.\n# TYPE {ray.name} {'counter' if 'starts_total' in ray.name else 'gauge'}\n"
        f'{ray.name}{{NodeAddress="c"}} 1.0\n'
        for ray in RAYS
    )
    text = merge([exported(some(), "a", 1, 2), exported(some(), "b", 3), rays])
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_reports_of_another_version_are_left_out() -> None:
    text = "# TYPE ray_sam3_unheard_of_total counter\nray_sam3_unheard_of_total 1.0\n"
    assert merge([text]) == b""


def test_nothing_to_merge_is_an_empty_exposition() -> None:
    assert merge([]) == b""
