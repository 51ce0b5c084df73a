"""Found instances: looked at, hidden, deleted, and taken along as files and as code."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.contract.conftest import own_server
from tests.e2e.playground.conftest import Opener
from tests.support.browser import Playground
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import encoded, ring, scene


def test_hover_shows_confidence_and_area(playground: Playground) -> None:
    playground.load()
    playground.find("red circle")
    playground.page.mouse.move(*playground.place(70, 80))
    tooltip = playground.page.locator("#tooltip")
    expect(tooltip).to_have_text(f"red circle 1 · 0.90 · {playground.areas()[0]:,} px")
    expect(playground.page.locator("#instances > li.highlighted .instance-label")).to_have_text(
        "red circle 1"
    )
    playground.page.mouse.move(*playground.place(160, 20))
    expect(tooltip).to_be_hidden()


def test_instances_are_hidden_and_deleted(playground: Playground) -> None:
    playground.load()
    plain = playground.colour_at(70, 80)
    playground.find("red circle, blue")
    drawn = playground.colour_at(70, 80)
    assert drawn != plain
    playground.page.get_by_role("button", name="Hide red circle 1").click()
    playground.page.mouse.move(2, 2)
    playground.settle()
    assert playground.colour_at(70, 80) == plain
    playground.page.get_by_role("button", name="Show red circle 1").click()
    playground.page.mouse.move(2, 2)
    playground.settle()
    assert playground.colour_at(70, 80) == drawn
    playground.page.get_by_role("button", name="Delete red circle 1").click()
    playground.settle()
    assert playground.instances() == ["red circle 2", "blue 1"]
    playground.keys("Control+z")
    assert playground.instances() == ["red circle 1", "red circle 2", "blue 1"]


def test_a_deleted_instance_stays_deleted_when_the_threshold_moves(playground: Playground) -> None:
    playground.load()
    playground.find("red circle")
    playground.page.get_by_role("button", name="Delete red circle 1").click()
    playground.threshold("red circle", 0.95)
    playground.threshold("red circle", 0.2)
    assert playground.instances() == ["red circle 2"]


def test_exports_hold_what_is_shown(playground: Playground, tmp_path: Path) -> None:
    playground.load()
    assert playground.page.get_by_role("button", name="COCO JSON").is_disabled()
    playground.find("red circle, blue square")
    playground.page.get_by_role("button", name="Hide red circle 1").click()
    playground.page.get_by_role("button", name="Hide blue square", exact=True).click()
    document = json.loads(playground.saved("COCO JSON", tmp_path).read_text())
    assert [one["score"] for one in document["annotations"]] == [pytest.approx(0.89)]


def test_png_masks(playground: Playground, tmp_path: Path) -> None:
    content = encoded(ring())
    playground.load(content, "ring.png")
    playground.find("red")
    playground.click(60, 80)
    with zipfile.ZipFile(playground.saved("PNG masks", tmp_path)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["001_red_0.90.png", "002_object_0.90.png"]
        masks = [Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    for mask, area in zip(masks, playground.areas(), strict=True):
        assert (mask.mode, mask.size) == ("L", (200, 160))
        values = np.asarray(mask)
        assert set(np.unique(values)) == {0, 255}
        assert (values == 255).sum() == area
        assert values[80, 100] == 0, "the hole"
        assert values[80, 60] == 255


def test_the_overlay_is_the_image_with_the_masks(playground: Playground, tmp_path: Path) -> None:
    playground.load()
    playground.find("red circle")
    overlay = Image.open(playground.saved("Overlay", tmp_path)).convert("RGB")
    original = scene()
    assert overlay.size == original.size
    assert overlay.getpixel((5, 5)) == original.getpixel((5, 5))
    assert overlay.getpixel((70, 80)) != original.getpixel((70, 80))


@pytest.mark.parametrize("with_key", [False, True], ids=["open", "with-keys"])
def test_the_code_asks_what_the_page_asked(open_page: Opener, tmp_path: Path, with_key: bool) -> None:
    from serve_app.http.tenants import keyfile

    key = keyfile.add(tmp_path / "keys.json", "acme") if with_key else ""
    settings: dict[str, Any] = {"api_keys_file": tmp_path / "keys.json"} if with_key else {}
    with own_server(FakeSegmenter(), **settings) as url:
        playground = open_page(url)
        if with_key:
            playground.page.get_by_role("button", name="Enter key").click()
            playground.page.fill("#key-input", key)
            playground.page.click("#key-use")
        name = 'it\'s a "scene".png' if with_key else "scene.png"
        (tmp_path / name).write_bytes(encoded(scene()))
        playground.load(name=name)
        playground.find("red circle, it's")
        playground.click(230, 70)
        playground.tab("Code")
        curl = playground.page.locator("#code").inner_text()
        playground.tab("Python")
        playground.settle()
        python = playground.page.locator("#code").inner_text()
        environment = {**os.environ, "SAM3_API_KEY": key}
        assert not key or key not in curl + python
        answers = _run(["bash", "-euo", "pipefail", "-c", curl], tmp_path, environment)
        concept, visual = (json.loads(line) for line in answers.replace("}{", "}\n{").splitlines())
        printed = _run([sys.executable, "-c", python], tmp_path, environment).splitlines()
        playground.page.context.close()
    assert [len(result["predictions"]) for result in concept["prompt_results"]] == [2, 0]
    assert len(visual["predictions"]) == 1
    assert printed == ["red circle [0.9, 0.89]", "it's []", "[0.9]"]


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stderr}"
    return done.stdout


def test_code_is_copied(open_page: Opener, server: str) -> None:
    playground = open_page(server, permissions=["clipboard-read", "clipboard-write"])
    playground.load()
    playground.find("red circle")
    playground.tab("Code")
    playground.page.get_by_role("button", name="Copy").click()
    expect(playground.page.locator("#copy-label")).to_have_text("Copied")
    copied = playground.page.evaluate("navigator.clipboard.readText()")
    assert copied == playground.page.locator("#code").inner_text()
    assert copied.startswith("curl ")


def test_timing_tells_stages_and_tier(playground: Playground) -> None:
    playground.load()
    playground.find("red circle")
    expect(playground.page.locator("#status-timing")).to_contain_text("hot · server")
    playground.tab("Timing")
    rows = playground.page.locator("#timing-rows tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("concept_segment")
    expect(rows.nth(0)).to_contain_text("hot")
    expect(rows.nth(1)).to_contain_text("embed_image")
    expect(rows.nth(1)).to_contain_text("miss")
    expect(playground.page.locator("#timing-latest")).to_contain_text("decode")
