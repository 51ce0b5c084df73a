"""Hedged calls: a call that takes far longer than its kind does now is asked of another replica too. No Ray, no HTTP.

pace      how long a call of each kind may take before it is hedged, and how many hedges there may be
replicas  the replicas of one deployment as this process sees them: which of them have fallen silent
hedges    a call, its hedge, and the first answer of the two
"""
