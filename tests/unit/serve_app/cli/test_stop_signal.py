import os
import signal
from collections.abc import Iterator

import pytest

from serve_app.cli.stop_signal import SIGNALS, StopSignal


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {each: signal.getsignal(each) for each in SIGNALS}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_the_second_ends_the_process(number: int) -> None:
    stop = StopSignal()
    stop.listen()
    assert not stop
    assert not stop.wait(0)
    os.kill(os.getpid(), number)
    assert stop.wait(10)
    assert stop
    assert all(signal.getsignal(each) is signal.SIG_DFL for each in SIGNALS)


def test_listening_again_replaces_handlers_of_others() -> None:
    stop = StopSignal()
    stop.listen()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stop.listen()
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.wait(10)


def test_listening_again_after_the_first_signal_leaves_the_second_one_free() -> None:
    stop = StopSignal()
    stop.listen()
    os.kill(os.getpid(), signal.SIGINT)
    stop.wait(10)
    stop.listen()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
