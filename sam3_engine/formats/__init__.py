"""The structure of image files, read before a decoder sees them, so that no file costs more than its picture."""
