"""No work is lost: by a reload, by another image, by a second thought."""

import pytest

from tests.e2e.playground.conftest import Opener
from tests.support.browser import Playground
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import encoded, ring, scene

SLOW_STORAGE = """
    const pause = (time) => new Promise((done) => setTimeout(done, time));
    const open = indexedDB.open.bind(indexedDB);
    indexedDB.open = (...what) => {
        const late = {};
        pause(1000).then(() => {
            const request = open(...what);
            const passOn = (name) => (request[name] = () => {
                late.result = request.result;
                late[name]();
            });
            ["onsuccess", "onupgradeneeded"].forEach(passOn);
        });
        return late;
    };
"""
SLOW_DISK = f"""
    {SLOW_STORAGE}
    const digest = crypto.subtle.digest.bind(crypto.subtle);
    crypto.subtle.digest = async (...what) => {{
        await pause(300);
        return digest(...what);
    }};
"""
WORK = {"red circle": 1, "Object 1 · 1 click": 1, "Object 2 · 1 box": 1}


def work(playground: Playground) -> None:
    """A concept with one of its instances deleted, a click and a box."""
    playground.load()
    playground.find("red circle")
    playground.page.get_by_role("button", name="Delete red circle 1").click()
    playground.keys("n")
    playground.click(230, 70)
    playground.tool("box")
    playground.drag(26, 36, 114, 124)
    assert playground.prompts() == WORK


def test_work_survives_a_reload(playground: Playground) -> None:
    work(playground)
    playground.reload()
    assert playground.page.is_hidden("#picker")
    assert playground.prompts() == WORK
    assert playground.instances() == ["red circle 2", "Object 1", "Object 2"]


def test_undo_goes_on_after_a_reload(playground: Playground) -> None:
    work(playground)
    playground.keys("Control+z")
    playground.reload()
    assert list(playground.prompts()) == ["red circle", "Object 1 · 1 click"]
    playground.keys("Control+Shift+z")
    assert playground.prompts() == WORK
    playground.keys("Control+z", "Control+z", "Control+z")
    assert playground.instances() == ["red circle 1", "red circle 2"], "the deletion is undone"
    playground.keys("Control+z")
    assert playground.prompts() == {}


def test_work_survives_another_image_and_undo_stays_with_its_image(playground: Playground) -> None:
    work(playground)
    playground.load(encoded(ring()), "ring.png")
    assert list(playground.prompts()) == ["red circle"], "words go on to an image without work"
    assert playground.page.is_disabled("#undo")
    playground.tool("point")
    playground.click(60, 80)
    playground.keys("[")
    assert playground.prompts() == WORK
    playground.keys("Control+z")
    assert list(playground.prompts()) == ["red circle", "Object 1 · 1 click"]
    playground.keys("]")
    assert list(playground.prompts()) == ["red circle", "Object 1 · 1 click"]
    playground.keys("Control+z")
    assert list(playground.prompts()) == ["red circle"]


def test_the_same_file_brings_its_work_back(playground: Playground) -> None:
    """The browser finds it by its digest, under any name, also after it was taken out of the row."""
    work(playground)
    playground.page.get_by_role("button", name="Open images").click()
    playground.load(encoded(ring()), "ring.png")
    playground.keys("[")
    playground.page.get_by_role("button", name="Take this image out").click()
    playground.settle()
    assert playground.row() == []
    playground.load(name="renamed.png")
    assert playground.prompts() == WORK


def test_going_back_to_an_image_asks_nothing(playground: Playground, fake: FakeSegmenter) -> None:
    work(playground)
    playground.load(encoded(ring()), "ring.png")
    asked = len(fake.asked)
    playground.keys("[", "]", "[")
    assert playground.prompts() == WORK
    assert len(fake.asked) == asked


def test_a_deleted_instance_stays_deleted_when_its_concept_is_refined(playground: Playground) -> None:
    playground.load()
    playground.find("red")
    playground.page.get_by_role("button", name="Delete red 1").click()
    playground.tool("like")
    playground.drag(186, 26, 274, 114)  # the blue square
    assert playground.prompts() == {"red · 1 similar": 2}
    assert playground.areas() == [5016, 6400]


def test_a_hidden_instance_stays_hidden_and_can_be_shown_again(playground: Playground) -> None:
    playground.load()
    playground.find("red circle")
    playground.page.get_by_role("button", name="Hide red circle 1").click()
    playground.reload()
    playground.page.get_by_role("button", name="Show red circle 1").click()
    playground.settle()
    assert playground.page.locator("#instances .hidden").count() == 0


def test_everything_can_be_forgotten(playground: Playground) -> None:
    work(playground)
    playground.page.click("#help")
    playground.page.click("#forget")
    with playground.page.expect_navigation():
        playground.page.get_by_role("button", name="Forget all").last.click()
    playground.settle()
    assert playground.page.is_visible("#picker")
    playground.load()
    assert playground.prompts() == {}


def test_a_browser_that_keeps_nothing_is_told_once_and_works(open_page: Opener, server: str) -> None:
    playground = open_page(server)
    playground.page.add_init_script(
        "indexedDB.open = () => { throw new DOMException('denied', 'InvalidStateError'); };"
    )
    playground.reload()
    playground.wait_for_notice("This browser keeps nothing")
    playground.page.click("#notice-close")
    playground.load()
    playground.find("red circle")
    assert playground.prompts() == {"red circle": 2}
    assert playground.notice() == ""


def test_a_storage_that_never_answers_keeps_nothing(open_page: Opener, server: str) -> None:
    playground = open_page(server)
    playground.page.add_init_script(
        """
        indexedDB.open = () => ({});
        const later = setTimeout;
        globalThis.setTimeout = (run, time, ...more) => later(run, time >= 10_000 ? 200 : time, ...more);
        """
    )
    playground.reload()
    playground.wait_for_notice("This browser keeps nothing")
    playground.load()
    playground.find("red circle")
    assert playground.prompts() == {"red circle": 2}


def test_a_full_disk_is_told(open_page: Opener, server: str) -> None:
    playground = open_page(server)
    playground.page.add_init_script(
        "IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError'); };"
    )
    playground.reload()
    playground.load()
    assert "This browser keeps nothing" in playground.notice()


def test_the_page_says_that_it_is_busy_until_everything_is_back(open_page: Opener, server: str) -> None:
    """On a slow disk too: scripts that drive the page wait for this."""
    playground = open_page(server)
    playground.page.add_init_script(SLOW_DISK)
    playground.reload()
    playground.load_all({"scene.png": encoded(scene()), "ring.png": encoded(ring())})
    assert playground.row() == ["scene.png", "ring.png"]
    playground.find("red circle")
    playground.reload()
    assert playground.row() == ["scene.png", "ring.png"]
    assert playground.prompts() == {"red circle": 2}


@pytest.mark.parametrize("secure", [True, False], ids=["https", "http"])
def test_the_digest_is_the_servers(playground: Playground, secure: bool) -> None:
    """Browsers compute digests for https and localhost only: elsewhere the page does."""
    import hashlib

    contents = [b"", b"abc", bytes(55), bytes(56), bytes(64), bytes(range(256)) * 300]
    digests = playground.module(
        "sha256.js",
        """async ({ digestOf }, [contents, secure]) => {
            if (!secure) Object.defineProperty(crypto, "subtle", { value: undefined, configurable: true });
            const digests = [];
            for (const one of contents) digests.push(await digestOf(new Blob([new Uint8Array(one)])));
            if (!secure) delete crypto.subtle;
            return digests;
        }""",
        [[list(one) for one in contents], secure],
    )
    assert digests == [hashlib.sha256(one).hexdigest() for one in contents]
