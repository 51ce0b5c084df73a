"""The check of the engine on one GPU: `make gpu-check`. Also runs on a CPU, so that tests can run it."""
