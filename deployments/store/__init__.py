"""What must not be lost: which image a chosen id names, source files, deletions, quotas.

    protocol    what the store promises: `Store`
    valkey      the one implementation, on a Valkey or Redis server: one Lua script for each step that changes something
    connections how the server is reached
    server      the server that `sam3-serve up` starts for itself, and starts again when it dies
    deletions   what a process remembers of deletions, so that work under way brings nothing back

The store's server orders everything: a new image and a deletion get a stamp of its clock each, and all processes
compare these stamps alone.
"""
