"""A node dies under traffic that names images by their ids alone: see drills/node_loss.py."""

from pathlib import Path

from harness.programs import report_of


def test_the_loss_of_a_node_with_embeddings_and_a_shard_loses_no_image(tmp_path: Path) -> None:
    found = report_of("drills.node_loss", tmp_path)
    assert found["lost"]["PoolShard"] == 1, "one of two shards was on the node"
    assert found["lost"]["ImageEncoder"] >= 1
    assert found["encoded_again"] > 0, "its embeddings were lost"
    assert found["outcome"]["failed"] == found["outcome"]["refused"] == 0, found["outcome"]
    assert found["outcome"]["latency"]["max"] < 30, "nobody waited for Ray to give the node up"
