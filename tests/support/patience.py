"""The time that a test waits for an answer before it gives up. It ends a hang; it says nothing about speed."""

PATIENCE_S = 600.0
"""Far beyond the need of a machine that is ten times as slow as usual, and below pytest's own limit for one test."""
