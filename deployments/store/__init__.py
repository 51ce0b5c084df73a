"""The records that must not be lost: the images that chosen ids name, source files, deletions, quotas.

    protocol    the store's promises: `Store`
    valkey      the one implementation, on a Valkey or Redis server: one Lua script for each step that changes something
    connections the ways to reach the server
    server      the server that `sam3-serve up` starts for itself, and starts again when it dies
    deletions   the recent deletions that a process remembers, so that work under way brings nothing back

The store's server orders everything: a new image and a deletion get a stamp of its clock each, and all processes
compare these stamps alone.
"""
