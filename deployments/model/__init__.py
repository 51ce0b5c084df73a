"""What every process with a model needs: loading, one thread, batches, a canary, reports of its load."""
