"""Videos: what following objects costs beside encoding alone, and how it is served. `python -m bench.video`."""
