"""Draws the clips that `tiny` learns to follow objects in: shapes of `training.varied` on paths, with a camera that
shakes."""

from training.moving.clips import Clip, draw_clip

__all__ = ["Clip", "draw_clip"]
