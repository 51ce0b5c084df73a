"""Thin parts of other Python tools that ask this service: a running server, or the model in the same process.

    model             the two ways to ask, with masks as arrays
    cvat_detection    a function for `cvat-cli task auto-annotate`: every instance of labels
    cvat_interaction  a function for CVAT's agents: one object by clicks and a box
    tracker           the same for objects through videos
    cvat_tracking     a function for CVAT's agents: shapes followed from frame to frame
    supervision       `supervision.Detections`, for large pictures in slices too
    autodistill       a base model that labels folders
    sahi              a detection model for slices of large pictures

Each module imports its tool, which is not installed with this package.
"""
