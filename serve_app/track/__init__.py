"""Follows objects through a video file: `sam3-serve track`."""
