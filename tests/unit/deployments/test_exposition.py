from prometheus_client.parser import text_string_to_metric_families

from deployments.exposition import merge

NODE = """# HELP ray_sam3_images_encoded_total Images encoded.
# TYPE ray_sam3_images_encoded_total counter
ray_sam3_images_encoded_total{{cause="new",NodeAddress="{node}"}} {count}
# HELP ray_sam3_stage_seconds Seconds by stage.
# TYPE ray_sam3_stage_seconds histogram
ray_sam3_stage_seconds_bucket{{le="0.1",stage="prompt",NodeAddress="{node}"}} 1.0
ray_sam3_stage_seconds_bucket{{le="+Inf",stage="prompt",NodeAddress="{node}"}} 2.0
ray_sam3_stage_seconds_count{{stage="prompt",NodeAddress="{node}"}} 2.0
ray_sam3_stage_seconds_sum{{stage="prompt",NodeAddress="{node}"}} 0.7
# HELP ray_serve_num_http_requests Requests.
# TYPE ray_serve_num_http_requests gauge
ray_serve_num_http_requests{{NodeAddress="{node}"}} 5.0
# HELP ray_object_store_memory Ray's own.
# TYPE ray_object_store_memory gauge
ray_object_store_memory{{NodeAddress="{node}"}} 5.0
"""


def families(*nodes: tuple[str, float]) -> dict[str, dict[str, float]]:
    text = merge(NODE.format(node=node, count=count) for node, count in nodes).decode()
    return {
        family.name: {
            f"{sample.name} {sorted(sample.labels.items())}": sample.value for sample in family.samples
        }
        for family in text_string_to_metric_families(text)
    }


def test_all_nodes_samples_are_in_one_family_under_our_names() -> None:
    found = families(("a", 3.0), ("b", 4.0))
    assert found.keys() == {"sam3_images_encoded", "sam3_stage_seconds", "ray_serve_num_http_requests"}
    assert sorted(found["sam3_images_encoded"].values()) == [3.0, 4.0]
    assert len(found["sam3_stage_seconds"]) == 8


def test_each_family_is_declared_once() -> None:
    text = merge(NODE.format(node=node, count=1) for node in "ab").decode()
    assert text.count("# TYPE sam3_stage_seconds histogram") == 1


def test_nothing_to_merge_is_an_empty_exposition() -> None:
    assert merge([]) == b""
