"""Checkpoints that people have: recognises a file, and gives its tensors by the names of the official `sam3.pt`."""
