"""Checkpoints that people have: tells what a file is, and gives its tensors by the names of the official `sam3.pt`."""
