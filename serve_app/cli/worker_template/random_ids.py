"""Ray's library draws ids of workers, tasks and objects from a random generator in C++ that a fork copies.

Where the template has drawn once, its forks draw the same ids: two workers give their tasks one name, and Ray aborts a
third one that runs both. The library takes the generator's state from the system when it first draws. So the template
must not draw.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def class_ids_of_the_system() -> Iterator[None]:
    """Give classes that become actors in the block their ids from the system. Ray's library draws nothing else while
    modules are imported."""
    import ray.actor
    from ray._raylet import ActorClassID

    class FromTheSystem:
        @staticmethod
        def from_random() -> ActorClassID:
            return ActorClassID(os.urandom(ActorClassID.size()))

    names = vars(ray.actor)
    names["ActorClassID"] = FromTheSystem
    try:
        yield
    finally:
        names["ActorClassID"] = ActorClassID


def forks_draw_apart() -> bool:
    """Fork this process twice, and return True if the two draw different ids. True, too, where Ray is not imported."""
    if "ray._raylet" not in sys.modules:
        return True
    first, second = _drawn_by_a_fork(), _drawn_by_a_fork()
    return first != second


def _drawn_by_a_fork() -> bytes:
    from ray._raylet import UniqueID

    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, UniqueID.from_random().binary())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as drawn:
        return drawn.read()
