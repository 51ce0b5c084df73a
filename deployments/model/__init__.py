"""The parts of every process with a model: loading, one thread, batches, a canary, reports of its load."""
