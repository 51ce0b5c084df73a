"""The place of each replica on the ring of consistent hashing. No Ray.

Serve names replicas at random: hashed by its name, a replacement would take keys from all the others and leave the dead
one's to them, so that more than half of all images met a replica that does not have them hot. So a place is a number,
a replica's rank when it started (Serve gives a rank that has become free to the next replica), and a replacement has
the keys of the one it replaces. A replica keeps its place while it lives, though Serve may change its rank.
"""

import time
from collections.abc import Mapping
from typing import Any

RANK, SINCE = "rank", "since"


def metadata(rank: int) -> dict[str, float]:
    """The facts that a replica tells the routers when it starts: its rank, and the time in seconds since the epoch."""
    return {RANK: rank, SINCE: time.time()}


def places(replicas: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """The place of each replica, all different: the same for every router that knows the same replicas.

    replicas: by name, the `metadata` of each. A replica whose place another one has had for longer, or that asked for
    none, gets a free place.
    """
    in_turn = sorted(replicas, key=lambda name: (replicas[name].get(SINCE, float("inf")), name))
    found: dict[str, int] = {}
    taken: set[int] = set()
    for name in in_turn:
        wanted = replicas[name].get(RANK)
        if wanted is not None and wanted not in taken:
            found[name] = wanted
            taken.add(wanted)
    free = (place for place in range(len(replicas)) if place not in taken)
    return {**found, **{name: next(free) for name in in_turn if name not in found}}
