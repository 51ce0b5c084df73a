"""The page tells its state: encoding, asking, failed, found nothing; each only when it is so."""

import json

import pytest
from playwright.sync_api import Route, expect

from deployments.protocol import UnknownImage
from sam3_engine.errors import UnreadableImage
from tests.e2e.playground.conftest import UNTIL_CANCELLED_S
from tests.e2e.playground.test_errors import expected
from tests.support.browser import Playground
from tests.support.fake_segmenter import FakeSegmenter


def told(playground: Playground) -> str:
    """The text in the place of the instances, where there are none."""
    return playground.page.locator("#no-instances").inner_text()


def choose(playground: Playground) -> None:
    """Choose an image, without waiting for it."""
    from tests.support.scenes import encoded, scene

    playground.page.set_input_files(
        "#file", {"name": "scene.png", "mimeType": "image/png", "buffer": encoded(scene())}
    )


def test_before_anything_is_asked(playground: Playground) -> None:
    assert told(playground) == "Open an image to begin."
    playground.load()
    assert told(playground) == "Nothing was asked yet."


def test_encoding_is_told_with_the_time_that_passed(playground: Playground, fake: FakeSegmenter) -> None:
    fake.delay_s = UNTIL_CANCELLED_S
    choose(playground)
    expect(playground.page.locator("#waiting")).to_have_text("Encoding the image, 1 s")
    playground.page.fill("#concept", "star")
    playground.page.press("#concept", "Enter")
    expect(playground.page.locator("#no-instances")).to_have_text("Encoding the image, 2 s")
    expect(playground.page.locator(".count")).to_have_text("…")
    fake.hurried = True
    playground.settle()
    assert playground.page.locator("#waiting").is_hidden()
    assert told(playground).startswith("Found nothing.")


def test_waiting_for_an_answer_is_told(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    fake.delay_s = UNTIL_CANCELLED_S
    playground.page.fill("#concept", "red")
    playground.page.press("#concept", "Enter")
    expect(playground.page.locator("#no-instances")).to_have_text("Waiting for the answer, 1 s")
    fake.hurried = True
    playground.settle()
    assert playground.prompts() == {"red": 2}


def test_a_failed_question_is_not_nothing_found(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    fake.error = RuntimeError("boom")
    playground.find("red circle")
    assert told(playground) == "No answer for red circle. Internal error."
    assert playground.page.locator(".count").inner_text() == "!"
    assert playground.page.locator(".failure").inner_text() == "No answer. Internal error."
    fake.error = None
    playground.page.get_by_role("button", name="Try again").click()
    playground.settle()
    assert playground.prompts() == {"red circle": 2}
    assert playground.page.locator(".failure").is_hidden()
    expected(playground)


def test_an_image_that_was_not_encoded(playground: Playground, fake: FakeSegmenter) -> None:
    fake.error = UnreadableImage("the image is broken")
    playground.load()
    assert told(playground) == "The image could not be encoded. the image is broken"
    assert playground.page.get_by_role("button", name="Try again").count() == 0, "it cannot help"
    expected(playground)


@pytest.mark.parametrize(
    ("error", "helps"),
    [(RuntimeError("boom"), True), (UnreadableImage("broken"), False), (UnknownImage("x"), False)],
)
def test_try_again_is_there_where_it_can_help(
    playground: Playground, fake: FakeSegmenter, error: Exception, helps: bool
) -> None:
    playground.load()
    fake.error = error
    playground.find("red")
    expect(playground.page.locator("#notice")).to_be_visible()
    assert playground.page.get_by_role("button", name="Try again").is_visible() is helps
    expected(playground)


def test_found_nothing_and_found_less_sure(playground: Playground) -> None:
    playground.load()
    playground.find("star")
    assert told(playground) == "Found nothing. Try other words, an example or a click."
    playground.find("red circle")
    playground.threshold("red circle", 0.95)
    assert told(playground) == "Found nothing this sure. 2 less sure: lower the confidence to see them."
    playground.threshold("red circle", 0.5)
    for name in ("red circle 1", "red circle 2"):
        playground.page.get_by_role("button", name=f"Delete {name}").click()
    playground.settle()
    assert told(playground) == "Everything that was found is deleted."


ANSWERS = {
    "a sign-in page": ("text/html", "<html>Sign in</html>", "The answer is not one of this server"),
    "nothing": ("application/json", "", "The answer is not one of this server"),
    "null": ("application/json", "null", "has a form that this page does not know"),
    "no results": ("application/json", "{}", "has a form that this page does not know"),
    "polygons": (
        "application/json",
        json.dumps({"prompt_results": [{"predictions": [{"confidence": 1, "masks": [[[0, 0]]]}]}]}),
        "has a form that this page does not know",
    ),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_of_another_shape_gives_a_sentence(playground: Playground, answer: str) -> None:
    media_type, body, sentence = ANSWERS[answer]

    def reply(route: Route) -> None:
        route.fulfill(body=body, content_type=media_type)

    playground.load()
    playground.page.route("**/concept_segment", reply)
    playground.find("red circle")
    playground.wait_for_notice(sentence)
    assert sentence in told(playground)


def test_nothing_moves_while_nothing_is_awaited(playground: Playground) -> None:
    """An animation draws for as long as it runs, also one that nobody sees."""
    playground.load()
    playground.find("red circle")
    moving = "document.getAnimations().map((one) => one.animationName).filter(Boolean)"
    assert playground.page.evaluate(moving) == []
