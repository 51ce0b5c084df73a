"""Faults, scaling, pool and capacity tried on real processes: `make drill`. Not shipped."""
