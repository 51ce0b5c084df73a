from concurrent.futures import ThreadPoolExecutor

from deployments.model.batcher import Batcher
from deployments.model.load import report
from deployments.model.thread import ModelThread


def test_a_replica_reports_its_queue_and_how_busy_it_is() -> None:
    thread = ModelThread("test")
    with ThreadPoolExecutor(1) as executor:
        batcher: Batcher[int, int] = Batcher(list, executor, max_weight=8)
        assert report([batcher], thread) == {"queued": 0.0, "oldest_s": 0.0, "busy": 0.0}
    thread.shutdown()
