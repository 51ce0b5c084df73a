"""Hedged calls: a call that takes far longer than its kind does now is asked of another replica too. No Ray, no HTTP.

pace      the time after which a call of each kind is hedged, and the number of hedges that there may be
replicas  the replicas of one deployment as this process sees them: answering or silent
hedges    a call, its hedge, and the first answer of the two
"""
