"""The load test of a server: scenarios, load generators, baselines, report. Not shipped."""
