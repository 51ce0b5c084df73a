"""Benchmarks of the engine and of single costs, side by side in one run. Not shipped."""
