"""See `bench.video.report`."""

from bench.video.report import main

main()
