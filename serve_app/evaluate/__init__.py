"""Compares models on images whose objects people have marked: `sam3-serve evaluate`."""
