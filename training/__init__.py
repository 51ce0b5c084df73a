"""Trains and evaluates the bundled `tiny` checkpoint on drawn scenes. Not shipped."""
