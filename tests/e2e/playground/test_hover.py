"""A pointer over a hundred masks costs one of them."""

from PIL import Image, ImageDraw

from tests.support.browser import Playground
from tests.support.scenes import COLOURS, GROUND, encoded

COUNT = """() => {
    window.strokes = 0;
    const stroke = CanvasRenderingContext2D.prototype.stroke;
    CanvasRenderingContext2D.prototype.stroke = function (...path) {
        window.strokes++;
        return stroke.apply(this, path);
    };
    window.changes = [];
    new MutationObserver((all) => window.changes.push(...all.map((one) => one.target.className)))
        .observe(document.getElementById("panel"), { subtree: true, childList: true, attributes: true });
}"""


def many() -> Image.Image:
    """A hundred red circles in ten rows, 800 x 800."""
    image = Image.new("RGB", (800, 800), GROUND)
    draw = ImageDraw.Draw(image)
    for index in range(100):
        x, y = index % 10 * 80, index // 10 * 80
        draw.ellipse((x + 10, y + 10, x + 70, y + 70), fill=COLOURS["red"])
    return image


def test_hover_draws_only_the_mask_under_the_pointer(playground: Playground) -> None:
    playground.load(encoded(many()))
    playground.find("red")
    playground.threshold("red", 0.1)
    shown = playground.prompts()["red"]
    assert shown > 70, "the stand-in is less sure with each"
    playground.page.mouse.move(*playground.place(40, 40))
    playground.settle()
    playground.page.evaluate(COUNT)
    playground.page.mouse.move(*playground.place(120, 40))
    playground.settle()
    assert playground.page.locator("#instances .highlighted").count() == 1
    strokes, changes = playground.page.evaluate("[window.strokes, window.changes]")
    assert 0 < strokes <= 4
    assert len(changes) <= 4, "two rows change: the one that is left, and the one that is met"
