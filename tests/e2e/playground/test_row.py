"""Several images: dropped or chosen together, in a row below the stage."""

import base64

import pytest

from tests.e2e.playground.conftest import Opener
from tests.e2e.playground.test_errors import expected
from tests.e2e.playground.test_kept_work import SLOW_STORAGE
from tests.support.browser import Held, Playground
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import CIRCLE, encoded, ring, scene

DROP = """(files) => {
    const transfer = new DataTransfer();
    for (const [name, type, content] of files) {
        const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type }));
    }
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""
THREE = {"a.png": encoded(scene()), "b.png": encoded(ring()), "c.png": encoded(scene().rotate(90))}


def drop(playground: Playground, files: list[tuple[str, str, bytes]]) -> None:
    playground.page.evaluate(
        DROP, [[name, kind, base64.b64encode(content).decode()] for name, kind, content in files]
    )
    playground.page.wait_for_selector("#picker", state="hidden")
    playground.page.wait_for_function("document.querySelectorAll('#row-images li').length > 1")
    playground.settle()


def test_three_dropped_files_are_three_images(playground: Playground) -> None:
    drop(playground, [(name, "image/png", content) for name, content in THREE.items()])
    assert playground.row() == list(THREE)
    assert playground.shown_image() == "a.png"
    assert playground.page.locator("#row-place").inner_text() == "1 of 3"
    playground.find("red circle")
    assert playground.prompts() == {"red circle": 2}
    playground.page.get_by_role("button", name="Next image").click()
    playground.settle()
    assert playground.shown_image() == "b.png"
    playground.page.locator("#row-images button").last.click()
    playground.settle()
    assert playground.shown_image() == "c.png"
    assert playground.page.is_disabled("#next")
    playground.keys("[", "[", "[")
    assert playground.shown_image() == "a.png"


def test_files_that_are_no_images_are_counted(playground: Playground) -> None:
    drop(
        playground,
        [
            ("a.png", "image/png", THREE["a.png"]),
            ("b.txt", "text/plain", b"b"),
            ("c.png", "image/png", THREE["c.png"]),
        ],
    )
    assert playground.row() == ["a.png", "c.png"]
    playground.wait_for_notice("1 of the files is no image.")


def test_the_row_survives_a_reload(playground: Playground) -> None:
    playground.load_all(THREE)
    playground.keys("Escape", "]")
    assert playground.shown_image() == "b.png"
    playground.reload()
    assert playground.row() == list(THREE)
    assert playground.shown_image() == "b.png"


def test_one_image_needs_no_row_and_the_same_image_is_not_added_twice(playground: Playground) -> None:
    playground.load()
    assert playground.row() == []
    playground.load(name="again.png")
    assert playground.row() == []


def test_an_image_is_taken_out(playground: Playground) -> None:
    playground.load_all(THREE)
    playground.keys("Escape", "]")
    playground.page.get_by_role("button", name="Take this image out").click()
    playground.settle()
    assert playground.row() == ["a.png", "c.png"]
    assert playground.shown_image() == "c.png"


def test_a_broken_image_leaves_the_row_and_the_shown_one_stays(playground: Playground) -> None:
    playground.load_all({"a.png": THREE["a.png"], "b.png": b"broken"})
    playground.keys("Escape", "]")
    playground.wait_for_notice("b.png cannot be shown: not an image")
    playground.settle()
    assert playground.row() == []
    playground.find("red circle")
    assert playground.prompts() == {"red circle": 2}
    expected(playground)


def test_the_first_image_that_can_be_shown_is_and_all_problems_are_told(playground: Playground) -> None:
    broken = {f"{number}.png": b"broken %d" % number for number in (1, 2, 3, 4)}
    drop(
        playground,
        [(name, "image/png", content) for name, content in {**broken, **THREE}.items()]
        + [("b.txt", "text/plain", b"b")],
    )
    assert playground.row() == list(THREE)
    assert playground.shown_image() == "a.png"
    told = playground.notice()
    assert told.startswith("1 of the files is no image. 1.png cannot be shown: ")
    assert told.endswith(" 2 more could not be opened.")
    assert playground.page.is_hidden("#picker")
    expected(playground)


def test_the_last_chosen_image_is_shown_however_slow_the_others_are(playground: Playground) -> None:
    playground.page.evaluate(
        """() => {
            const digest = crypto.subtle.digest.bind(crypto.subtle);
            crypto.subtle.digest = async (...what) => {
                crypto.subtle.digest = digest;
                await new Promise((done) => setTimeout(done, 1000));
                return digest(...what);
            };
        }"""
    )
    playground.choose({"slow.png": THREE["a.png"]})
    playground.choose({"fast.png": THREE["b.png"]})
    playground.settle()
    assert sorted(playground.row()) == ["fast.png", "slow.png"]
    assert playground.shown_image() == "fast.png"


def test_images_chosen_while_the_row_comes_back_are_shown_and_added_once(
    open_page: Opener, server: str
) -> None:
    playground = open_page(server)
    playground.load_all({"a.png": THREE["a.png"], "b.png": THREE["b.png"]})
    playground.page.add_init_script(SLOW_STORAGE)
    playground.page.reload()
    playground.choose({"c.png": THREE["c.png"], "again.png": THREE["a.png"]})
    playground.settle()
    assert playground.row() == ["a.png", "b.png", "c.png"]
    assert playground.shown_image() == "c.png"


@pytest.mark.parametrize("choose", [True, False], ids=["another file", "one of the row"])
def test_what_is_asked_for_is_shown_while_the_kept_image_does_not_come(
    playground: Playground, choose: bool
) -> None:
    playground.load_all({"a.png": THREE["a.png"], "b.tif": encoded(scene(), "TIFF")})
    playground.keys("Escape", "]")
    assert playground.shown_image() == "b.tif"
    held = Held(playground.page, "**/playground/picture")
    playground.page.reload()
    held.wait()
    if choose:
        playground.choose({"c.png": THREE["c.png"]})
    else:
        playground.page.locator("#row-images button").first.click()
    shown = "c.png" if choose else "a.png"
    playground.page.wait_for_selector(f"#row-images [aria-current]:has-text('{shown}')")
    held.let_go(400)
    playground.settle()
    assert playground.shown_image() == shown
    expected(playground)


def test_an_image_taken_out_while_another_one_fails_is_gone(playground: Playground) -> None:
    playground.load()
    playground.find("red circle")
    held = Held(playground.page, "**/playground/picture")
    playground.choose({"b.png": b"broken"})
    held.wait()
    playground.page.get_by_role("button", name="Take this image out").click()
    held.let_go()
    playground.wait_for_notice("b.png cannot be shown")
    playground.settle()
    assert playground.instances() == []
    assert playground.page.is_visible("#picker")
    playground.reload()
    assert playground.page.is_visible("#picker")
    expected(playground)


def test_a_tiff_is_opened(playground: Playground, fake: FakeSegmenter) -> None:
    """The server turns it into a picture for the browser, and the model gets the file itself."""
    playground.load(encoded(scene(), "TIFF"), "scan.tif")
    red, green, _ = playground.colour_at(CIRCLE[0] + 40, CIRCLE[1] + 40)
    assert red > 180 > 80 > green
    playground.find("red circle")
    assert playground.prompts() == {"red circle": 2}
    playground.click((CIRCLE[0] + CIRCLE[2]) / 2, (CIRCLE[1] + CIRCLE[3]) / 2)
    assert playground.prompts()["Object 1 · 1 click"] == 1
    assert fake.encoded == 1
