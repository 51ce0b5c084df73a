import pytest

from bench.tools import SIZE, measure, report, serving
from loadtest.corpus import Corpus
from serve_app.http.app import create_app
from serve_app.settings import Settings
from tests.support import http_server
from tests.support.fake_segmenter import FakeSegmenter

# pycocotools.mask.decode knows no numpy 2 yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def test_every_route_is_clicked_twice_on_images_of_its_own() -> None:
    """The first images warm the server up: they are not counted."""
    segmenter, content = FakeSegmenter(), dict[str, bytes]()
    pictures = Corpus.draw(seed=1, count=2, size=SIZE).pictures
    with serving(content) as origin:
        settings = Settings(tools=("label-studio", "cvat", "x-anylabeling"), tool_origins=(origin,))
        with http_server.serving(create_app(segmenter, settings)) as url:
            found = measure(url, origin, content, pictures)
    assert [(len(route.first), len(route.second)) for route in found] == [(2, 2)] * 4
    assert segmenter.encoded == len(set(content.values())) == 4 * 3
    assert len(segmenter.asked) == 2 * segmenter.encoded
    assert [line.split()[1] for line in report(found).splitlines()[2:]] == [
        "visual_segment",
        "Label",
        "CVAT",
        "X-AnyLabeling",
    ]
