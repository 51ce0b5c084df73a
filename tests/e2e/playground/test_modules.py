"""The page's modules by themselves: run-length encodings, outlines, history, quoting."""

import numpy as np
import numpy.typing as npt
import pytest
from pycocotools import mask as coco

from tests.e2e.playground.conftest import Opener
from tests.support.browser import Playground

Mask = npt.NDArray[np.bool_]


@pytest.fixture(scope="module")
def masks() -> list[Mask]:
    rng = np.random.default_rng(5)
    speckles = [rng.random((height, width)) < 0.5 for height, width in ((1, 1), (1, 9), (7, 1), (23, 31))]
    empty, full = np.zeros((4, 6), dtype=bool), np.ones((4, 6), dtype=bool)
    y, x = np.mgrid[:301, :423]
    distance = np.hypot(x - 200, y - 150)
    rings = (distance < 140) & ~((distance > 60) & (distance < 90))
    late = np.zeros((300, 400), dtype=bool)
    late[290:, 390:] = True
    diagonal = np.eye(5, dtype=bool)
    return [*speckles, empty, full, rings, late, diagonal]


def encode(mask: Mask) -> dict[str, object]:
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def test_run_lengths_are_read_as_pycocotools_writes_them(playground: Playground, masks: list[Mask]) -> None:
    crops = playground.module(
        "mask.js",
        """({ Mask }, all) => all.map((rle) => {
            const mask = new Mask(rle), { data, ...place } = mask.crop();
            return { ...place, data: [...data], ends: mask.ends.length };
        })""",
        [encode(mask) for mask in masks],
    )
    for crop, mask in zip(crops, masks, strict=True):
        found = np.zeros_like(mask)
        window = (slice(crop["y"], crop["y"] + crop["height"]), slice(crop["x"], crop["x"] + crop["width"]))
        found[window] = np.array(crop["data"], dtype=bool).reshape(crop["height"], crop["width"])
        assert (found == mask).all()
        if mask.any():
            assert found[window].any(axis=0).all() or mask.sum() < mask.size  # the window is tight:
            assert found[window][0].any()
            assert found[window][:, -1].any()


def test_a_point_is_looked_up_in_the_runs(playground: Playground, masks: list[Mask]) -> None:
    answers = playground.module(
        "mask.js",
        """({ Mask }, all) => all.map((rle) => {
            const mask = new Mask(rle), found = [];
            for (let y = 0.5; y < mask.height; y++) {
                for (let x = 0.5; x < mask.width; x++) found.push(mask.contains(x, y));
            }
            return [found, mask.contains(-1, 0), mask.contains(mask.width, 0), mask.contains(0, mask.height)];
        })""",
        [encode(mask) for mask in masks],
    )
    for (found, *outside), mask in zip(answers, masks, strict=True):
        assert (np.array(found).reshape(mask.shape) == mask).all()
        assert outside == [False, False, False]


def test_outlines_enclose_exactly_the_mask(playground: Playground, masks: list[Mask]) -> None:
    """The test compares the signed areas of the rings, and the filled rings."""
    answers = playground.module(
        "mask.js",
        """async ({ Mask }, all) => {
            const { traceRings } = await import(document.documentElement.dataset.assets + "/outline.js");
            return all.map((rle) => {
                const mask = new Mask(rle);
                const canvas = new OffscreenCanvas(mask.width, mask.height);
                const context = canvas.getContext("2d", { willReadFrequently: true });
                context.fill(mask.path, "evenodd");
                const pixels = context.getImageData(0, 0, mask.width, mask.height).data;
                return [traceRings(mask.crop()), [...pixels].filter((_, index) => index % 4 === 3)];
            });
        }""",
        [encode(mask) for mask in masks],
    )
    for (rings, alpha), mask in zip(answers, masks, strict=True):
        assert (np.array(alpha).reshape(mask.shape) == mask * 255).all()
        area = 0.0
        for ring in rings:
            x, y = np.array(ring, dtype=float).reshape(-1, 2).T
            area += float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
        assert area == mask.sum(), "holes are counted off"


def test_long_runs(playground: Playground) -> None:
    """The mask has as many pixels as the largest image that the server takes by default."""
    rle = coco.frPyObjects({"size": [12_000, 10_000], "counts": [60_000_000, 5, 59_999_995]}, 12_000, 10_000)
    area = playground.module(
        "mask.js",
        "({ decodeCounts }, counts) => decodeCounts(counts)",
        rle["counts"].decode(),
    )
    assert area == [60_000_000, 5, 59_999_995]


def test_history(playground: Playground) -> None:
    steps = playground.module(
        "history.js",
        """({ History }) => {
            const history = new History(0), seen = [];
            history.subscribe((value) => seen.push(value));
            history.push(1);
            history.push(2, "slider");
            history.push(3, "slider");
            history.push(4, "slider");
            history.undo();
            history.undo();
            history.undo();
            history.redo();
            history.replace(10);
            history.redo();
            history.push(5);
            history.redo();
            return [seen, history.canUndo, history.canRedo];
        }""",
    )
    assert steps == [[1, 2, 3, 4, 1, 0, 1, 10, 4, 5], True, False]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            "decode;dur=1.50, cache;desc=hit, encode;dur=0.00, tier;desc=hot, total;dur=12.25",
            {"stages": [["decode", 1.5], ["encode", 0]], "total": 12.25, "tier": "hot"},
        ),
        ("", {"stages": [], "total": 0, "tier": ""}),
        ("miss, db;dur=5", {"stages": [["db", 5]], "total": 0, "tier": ""}),
    ],
)
def test_server_timing(playground: Playground, header: str, expected: dict[str, object]) -> None:
    assert (
        playground.module("timing.js", "(timing, header) => timing.parseServerTiming(header)", header)
        == expected
    )


def test_views(open_page: Opener, server: str) -> None:
    """The pixel under the pointer stays there while zooming; an image is never lost from sight."""
    found = open_page(server).module(
        "viewport.js",
        """(views) => {
            const image = { width: 400, height: 300 }, stage = { width: 1000, height: 700 };
            let view = views.fit(image, stage);
            const before = views.toImage(view, 333, 222);
            for (const factor of [3, 0.5, 1.7]) view = views.zoomAt(view, factor, 333, 222, image);
            const after = views.toImage(view, 333, 222);
            const lost = views.pan(view, 1e6, -1e6, image, stage);
            const back = views.toScreen(view, after.x, after.y);
            return [before, after, back, lost.x < stage.width, lost.y + image.height * lost.scale > 0];
        }""",
    )
    before, after, back, *visible = found
    assert after == pytest.approx(before)
    assert back == pytest.approx({"x": 333, "y": 222})
    assert visible == [True, True]
