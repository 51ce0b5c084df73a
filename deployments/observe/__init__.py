"""Metrics and traces: their names, how processes report them, how one exposition is made of them."""
