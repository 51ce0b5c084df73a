"""The time after which a call is hedged, and the number of hedges: both learnt from the calls of this process."""

from collections import deque
from collections.abc import Hashable

RECENT = 128
"""Calls of a kind that its pace is learnt from."""
FEWEST = 16
"""So many calls of a kind have to be known before its pace is."""
QUANTILE = 0.95
FAR = 3.0
"""A call is hedged once it takes so many times as long as QUANTILE of its kind."""
LONG_S = 1.5
"""Nobody waits for longer than this for calls that take less by far: QUANTILE of the kind is waited for at least."""
UNKNOWN_S = 2.0
"""Least patience with a call of a kind whose pace is not known yet."""
REFRESH = 16
"""Calls after which the quantile is computed anew."""
MOST_TOKENS = 4.0
"""Hedges that a long calm time allows at once."""


class Pace:
    """Seconds that calls take now, by kind. There are few kinds: each keeps RECENT figures."""

    def __init__(self, least_s: float) -> None:
        """least_s: no call is hedged earlier."""
        self._least_s = least_s
        self._took: dict[Hashable, deque[float]] = {}
        self._since: dict[Hashable, int] = {}
        """Calls since the quantile was computed."""
        self._patience_s: dict[Hashable, float] = {}

    def took(self, kind: Hashable, seconds: float) -> None:
        """A call was answered after so many seconds. Of a hedged call, these are the caller's: from the first of the
        two calls to the first answer."""
        recent = self._took.setdefault(kind, deque(maxlen=RECENT))
        recent.append(seconds)
        since = self._since.get(kind, 0) + 1
        if len(recent) >= FEWEST and (since >= REFRESH or kind not in self._patience_s):
            usual = sorted(recent)[int(QUANTILE * len(recent))]
            self._patience_s[kind] = max(self._least_s, min(FAR * usual, max(usual, LONG_S)))
            since = 0
        self._since[kind] = since

    def patience_s(self, kind: Hashable) -> float:
        """Seconds to wait for an answer before another replica is asked."""
        return self._patience_s.get(kind, max(self._least_s, UNKNOWN_S))


class Budget:
    """A bucket of tokens: every call puts a share of one in, every hedge takes one out."""

    def __init__(self, share: float) -> None:
        """share: most hedges for each call, over a long time."""
        self._share = share
        self._tokens = MOST_TOKENS

    def earn(self) -> None:
        """A call was sent."""
        self._tokens = min(MOST_TOKENS, self._tokens + self._share)

    def spend(self) -> bool:
        """Take a token; False where there is none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
