"""Asking: words, clicks, boxes, examples; undo; thresholds."""

from deployments.protocol import ConceptRequest, VisualRequest
from tests.support.browser import Playground
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import CIRCLE, SECOND_CIRCLE, SQUARE, encoded, ring

Box = tuple[float, float, float, float]


def middle(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def around(box: Box) -> Box:
    return (box[0] - 4, box[1] - 4, box[2] + 4, box[3] + 4)


def test_an_image_is_encoded_as_soon_as_it_is_there(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    assert (fake.encoded, fake.asked) == (1, [None])


def test_words(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    playground.find("red circle")
    assert playground.prompts() == {"red circle": 2}
    assert playground.instances() == ["red circle 1", "red circle 2"]
    playground.find("blue square, star")
    assert playground.prompts() == {"red circle": 2, "blue square": 1, "star": 0}
    assert fake.encoded == 1, "one encode, whatever is asked"
    asked = [len(request.prompts) for request in fake.asked if isinstance(request, ConceptRequest)]
    assert asked == [1, 2], "what is known is not asked again"


def test_masks_are_drawn_with_their_holes(playground: Playground) -> None:
    playground.load(encoded(ring()))
    plain = playground.colour_at(100, 80), playground.colour_at(60, 80)
    playground.find("red")
    hole, body = playground.colour_at(100, 80), playground.colour_at(60, 80)
    assert hole == plain[0]
    assert body != plain[1]


def test_clicks(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    playground.click(*middle(CIRCLE))
    assert playground.prompts() == {"Object 1 · 1 click": 1}
    playground.click(*middle(SQUARE), button="right")
    assert playground.prompts() == {"Object 1 · 2 clicks": 1}
    request = fake.asked[-1]
    assert isinstance(request, VisualRequest)
    (prompt,) = request.prompts
    for point, wanted, positive in zip(prompt.points, (CIRCLE, SQUARE), (True, False), strict=True):
        assert abs(point.x - middle(wanted)[0]) < 1.5
        assert abs(point.y - middle(wanted)[1]) < 1.5
        assert point.positive is positive
    playground.keys("n")
    playground.click(*middle(SQUARE))
    assert playground.prompts() == {"Object 1 · 2 clicks": 1, "Object 2 · 1 click": 1}
    assert fake.encoded == 1


def test_a_right_click_needs_an_object(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    playground.click(*middle(CIRCLE), button="right")
    assert "Click on the object first" in playground.notice()
    assert playground.prompts() == {}
    playground.click(*middle(CIRCLE))
    assert playground.notice() == ""


def test_a_box(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    playground.tool("box")
    playground.drag(*around(SQUARE))
    assert playground.prompts() == {"Object 1 · 1 box": 1}
    request = fake.asked[-1]
    assert isinstance(request, VisualRequest)
    found, wanted = request.prompts[0].box, around(SQUARE)
    assert found is not None
    assert all(abs(one - other) < 1.5 for one, other in zip(found, wanted, strict=True))


def test_examples(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    playground.tool("like")
    playground.drag(*around(CIRCLE))
    assert playground.prompts() == {"Like the example · 1 similar": 2}
    playground.tool("unlike")
    playground.drag(*around(SECOND_CIRCLE))
    assert playground.prompts() == {"Like the example · 1 similar, 1 left out": 1}
    request = fake.asked[-1]
    assert isinstance(request, ConceptRequest)
    assert request.prompts[0].box_labels == (True, False)


def test_an_example_adds_to_words(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    playground.find("blue")
    playground.tool("like")
    playground.drag(*around(CIRCLE))
    assert playground.prompts() == {"blue · 1 similar": 3}


def test_undo_and_redo_ask_nothing_again(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    playground.find("red circle")
    playground.click(*middle(SQUARE))
    asked = len(fake.asked)
    playground.page.click("#undo")
    playground.settle()
    assert playground.prompts() == {"red circle": 2}
    playground.keys("Control+z")
    assert playground.prompts() == {}
    assert playground.page.is_disabled("#undo")
    playground.keys("Control+Shift+z", "Control+y")
    assert playground.prompts() == {"red circle": 2, "Object 1 · 1 click": 1}
    assert len(fake.asked) == asked


def test_thresholds_ask_nothing(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    playground.find("red circle")  # the stand-in is sure by 0.90 and 0.89
    asked = len(fake.asked)
    playground.threshold("red circle", 0.895)
    assert playground.prompts() == {"red circle": 1}
    playground.threshold("red circle", 0.95)
    assert playground.prompts() == {"red circle": 0}
    playground.page.click("#undo")  # a slider that is dragged is one step
    playground.settle()
    assert playground.prompts() == {"red circle": 2}
    assert len(fake.asked) == asked
    request = fake.asked[-1]
    assert isinstance(request, ConceptRequest)
    assert request.prompts[0].score_threshold < 0.2


def test_marks_are_selected_and_removed(playground: Playground) -> None:
    playground.load()
    playground.click(*middle(CIRCLE))
    playground.click(*middle(SQUARE), button="right")
    playground.tool("select")
    playground.click(*middle(SQUARE))
    playground.keys("Delete")
    assert playground.prompts() == {"Object 1 · 1 click": 1}
    playground.click(*middle(CIRCLE))
    playground.keys("Delete")
    assert playground.prompts() == {}


def test_the_next_image_keeps_the_words(playground: Playground) -> None:
    playground.load()
    playground.find("red circle")
    playground.click(*middle(SQUARE))
    playground.load(encoded(ring()), "ring.png")
    assert playground.prompts() == {"red circle": 0} or playground.prompts() == {"red circle": 1}
    assert playground.page.is_disabled("#undo")


def test_samples_suggest_what_to_ask(playground: Playground) -> None:
    playground.page.click("button.sample >> nth=0")
    playground.settle()
    suggestion = playground.page.locator(".suggestion").first
    suggestion.click()
    playground.settle()
    assert list(playground.prompts()) == [suggestion.inner_text()]
    suggestion.click()
    playground.settle()
    assert playground.prompts() == {}
