"""Follow a drawn video on a server whose decoder is killed on the way, and draw what the client got, for docs/video.md:

    python -m scripts.video_animation docs/images/video.webp

Starts a server of its own with `tiny`. The video takes 20 seconds; the client reads the stream of its answers, and
halfway the decoder gets `kill -9`. Fails where an object has another id after it.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from harness.drawn_clip import PERIOD, RATE, SIZE, TEXTS, frame, write_clip
from harness.server import ServerProcess, server_process
from sam3_engine.decode_masks import decode_masks
from sam3_engine.draw import PALETTE, LabelledMask, draw_instances
from serve_app.video_client import VideoClient

FRAMES, KILLED = PERIOD, 96
DECODER = "ServeReplica:sam3:PromptDecoder"
SHOWN_EVERY = 2
"""Of the frames, so many make one picture of the animation."""
TOLD = 25
"""Frames for which the animation says that the decoder died, and which one answers."""
LONGEST_S = 3.0
"""A picture stays for as long as the client waited for the next one, but no longer than this."""
BAND = 22
"""Height of the line below the picture."""
INK, ALARM = (40, 40, 40), (190, 20, 20)


@dataclass(frozen=True, slots=True)
class Got:
    """An answer as the client got it. waited: seconds since the one before; told: what there is to say."""

    answer: dict[str, Any]
    waited: float
    told: str


def followed(server: ServerProcess, clip: Path) -> Iterator[Got]:
    """The answers to all frames. The decoder dies when the client has read number KILLED."""
    (victim,) = server.named(DECODER)
    told, until, died = "", -1, 0.0
    with VideoClient(server.url) as client:
        before = time.monotonic()
        for answer in client.file(clip, texts=TEXTS, every=5):
            number, now = answer["frame"], time.monotonic()
            if number == KILLED:
                victim.kill()
                died, told, until = now, f"kill -9 {victim.pid}: the decoder is dead", FRAMES
            elif number > KILLED and until == FRAMES:
                others = [one.pid for one in server.named(DECODER) if one.pid != victim.pid]
                if others:
                    told, until = f"{now - died:.1f} s later: decoder {others[0]} goes on", number + TOLD
            yield Got(dict(answer), now - before, told if number <= until else "")
            before = now


def drawn(got: Got) -> Image.Image:
    """A picture of the animation: the frame, the masks with their ids, and a line of text."""
    masks, colours = [], {}
    for one in got.answer["objects"]:
        name = f"{one['label']} {one['id']}"
        masks.append(LabelledMask(name, one["confidence"], decode_masks(one["masks"], "rle", SIZE)))
        colours[name] = PALETTE[one["id"]]
    picture = Image.new("RGB", (SIZE.width, SIZE.height + BAND), "white")
    picture.paste(draw_instances(frame(got.answer["frame"]), masks, colours), (0, 0))
    line = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    line.text((6, SIZE.height + 3), f"{got.answer['seconds']:4.1f} s", INK, font)
    line.text((60, SIZE.height + 3), got.told, ALARM if "dead" in got.told else INK, font)
    return picture


def main() -> None:
    """Run it, check the ids, and write the animation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("animation", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sam3-animation-") as name:
        folder = Path(name)
        write_clip(folder / "clip.mp4")
        with server_process(folder, model="tiny") as server:
            answers = list(followed(server, folder / "clip.mp4"))
    ids = {(one["label"], one["id"]) for got in answers for one in got.answer["objects"]}
    assert len(answers) == FRAMES, "frames are missing"
    assert len(ids) == len(TEXTS), f"an object has another id: {ids}"
    assert any("goes on" in got.told for got in answers), "no other decoder answered"
    rows = range(0, FRAMES, SHOWN_EVERY)
    waits = [sum(got.waited for got in answers[row + 1 : row + 1 + SHOWN_EVERY]) for row in rows]
    lengths = [max(SHOWN_EVERY / RATE, min(wait, LONGEST_S)) for wait in waits]
    first, *others = (drawn(answers[row]) for row in rows)
    first.save(
        asked.animation,
        save_all=True,
        append_images=others,
        duration=[round(1000 * length) for length in lengths],
        loop=0,
        quality=60,
        method=6,
    )
    print(
        f"{len(answers)} frames, {sorted(ids)}, longest wait for a frame {max(got.waited for got in answers):.1f} s, "
        f"{asked.animation.stat().st_size / 1000:.0f} kB"
    )


if __name__ == "__main__":
    main()
