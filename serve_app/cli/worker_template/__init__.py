"""Ray's worker processes of `sam3-serve up` as copies of one that has imported everything.

Each worker of Ray is a Python process, and importing Ray, Serve and torch is most of what it does until it works. Here
one process, `template`, imports once, and each worker is forked from it. The raylet runs `start` instead of its own
script, and a worker that the template cannot make is started in Ray's own way.
"""
