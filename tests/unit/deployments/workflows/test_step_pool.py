import threading

import pytest

from deployments.workflows.step_pool import StepPool


def test_nothing_of_a_run_is_left_after_it() -> None:
    started, go = threading.Event(), threading.Event()
    done: list[str] = []

    def step() -> None:
        started.set()
        assert go.wait(10)
        done.append("first")

    with StepPool(1) as steps:
        running = steps.submit(step)
        waiting = steps.submit(done.append, "never begun")
        assert started.wait(10)
        threading.Timer(0.05, go.set).start()
        steps.drain()
        assert running.done()
        assert waiting.cancelled()
        assert done == ["first"]
        assert steps.submit(lambda: 2).result(10) == 2, "the next run has its threads"
        steps.drain()


def test_a_step_that_fails_does_not_fail_the_end() -> None:
    with StepPool(1) as steps:
        failing = steps.submit(lambda: 1 / 0)
        steps.drain()
        with pytest.raises(ZeroDivisionError):
            failing.result()
