"""Video files: their frames, one at a time, upright and in the order of presentation; and films of drawn frames."""
