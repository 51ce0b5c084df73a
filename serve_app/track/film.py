"""The film of a run: each frame with its objects drawn over it, every object in a colour of its own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from sam3_engine.decode_masks import decode_masks
from sam3_engine.draw import PALETTE, LabelledMask, draw_instances
from sam3_engine.types import ImageSize
from sam3_engine.video_files.reading import Video
from sam3_engine.video_files.writing import Film
from serve_app.track.journal import Journal


def write_film(video: Video, journal: Journal, path: Path, go_on: Callable[[int], bool]) -> bool:
    """Write the film of the journal's frames; returns whether it is whole. go_on: called with each frame's number.

    video: the same file, opened anew.
    """
    with Film(path, video.info.rate) as film:
        for frame, line in zip(video.frames(), journal.lines(), strict=False):
            size = ImageSize(*line["size"])
            masks = [
                LabelledMask(
                    f"{one['label']} {one['id']}", one["score"], decode_masks(one["rle"], "rle", size)
                )
                for one in line["objects"]
            ]
            colours = {
                mask.concept: PALETTE[one["id"] % len(PALETTE)]
                for mask, one in zip(masks, line["objects"], strict=True)
            }
            drawn = draw_instances(Image.fromarray(frame.pixels), masks, colours)
            film.add(np.asarray(drawn), line["seconds"])
            if not go_on(frame.number):
                return False
    return True
