import dataclasses

from deployments.observe.metrics import NAMES, Metric, Metrics


def test_the_names_that_operators_rely_on() -> None:
    metrics: list[Metric] = [getattr(NAMES, field.name) for field in dataclasses.fields(NAMES)]
    names = {metric.name: metric.labels for metric in metrics}
    assert len(names) == len(metrics)
    assert {
        "sam3_requests_total": ("route", "status", "model"),
        "sam3_stage_seconds": ("stage",),
        "sam3_cache_lookups_total": ("tier", "model"),
        "sam3_images_encoded_total": ("cause",),
        "sam3_pool_bytes": ("tier",),
        "sam3_pool_entries": ("tier",),
        "sam3_batch_size": ("stage",),
        "sam3_in_flight": ("route",),
        "sam3_model_load_seconds": (),
        "sam3_request_seconds": ("route", "model"),
        "sam3_tenant_requests_total": ("tenant", "status"),
        "sam3_processes": ("part",),
    }.items() <= names.items()
    # Serve adds these itself, and refuses metrics that have them.
    assert not {"deployment", "replica", "application"} & {
        label for labels in names.values() for label in labels
    }


def test_local_metrics_keep_series_apart() -> None:
    metrics = Metrics()
    metrics.add(NAMES.cache_lookups, tier="hot", model="a")
    metrics.add(NAMES.cache_lookups, 2, tier="warm", model="a")
    metrics.set(NAMES.pool_bytes, 5, tier="warm")
    metrics.set(NAMES.pool_bytes, 3, tier="warm")
    metrics.observe(NAMES.batch_size, 8, stage="prompt")
    assert dict(metrics.values) == {
        'sam3_cache_lookups_total{model="a",tier="hot"}': 1,
        'sam3_cache_lookups_total{model="a",tier="warm"}': 2,
        'sam3_pool_bytes{tier="warm"}': 3,
        'sam3_batch_size_count{stage="prompt"}': 1,
    }
