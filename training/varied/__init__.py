"""Draws the scenes that `tiny` is trained on, with OpenCV and from seeds: many sizes, colours, grounds and hands."""

from training.varied.scenes import draw_crowded, draw_varied

__all__ = ["draw_crowded", "draw_varied"]
