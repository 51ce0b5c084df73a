"""The chooser of the model, on a server with several."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from deployments.protocol import ModelStatus
from serve_app.http.app import create_app
from serve_app.model_file import read_models
from serve_app.settings import Settings
from tests.e2e.playground.conftest import Opener
from tests.support.browser import Playground
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving

MODELS = """
base: {architecture: tiny, default: true}
acme/cars/3: {architecture: tiny, checkpoint: cars.pt, replicas: 0}
"""


@pytest.fixture
def segmenter() -> FakeSegmenter:
    return FakeSegmenter(states={"acme/cars/3": ModelStatus("asleep", 0)})


@pytest.fixture
def several(segmenter: FakeSegmenter) -> Iterator[str]:
    with serving(create_app(segmenter, Settings(models=read_models(MODELS)))) as url:
        yield url


def test_the_chosen_model_answers_and_the_work_stays(
    several: str, segmenter: FakeSegmenter, open_page: Opener
) -> None:
    playground: Playground = open_page(several)
    choice = playground.page.locator("#model-choice")
    expect(choice).to_have_value("base")
    expect(choice.locator("option").nth(1)).to_have_text(
        "acme/cars/3 (asleep: its first answer takes longer)"
    )
    playground.load()
    playground.find("red circle")
    assert playground.prompts() == {"red circle": 2}
    assert set(segmenter.asked_models) == {"base"}
    choice.select_option("acme/cars/3")
    playground.settle()
    assert playground.prompts() == {"red circle": 2}
    asked = segmenter.asked_models[:]
    assert asked[-2:] == ["acme/cars/3", "acme/cars/3"], "it encodes, and finds"
    choice.select_option("base")
    playground.settle()
    assert segmenter.asked_models == asked, "the first model's answers were kept"
    playground.page.click("#tab-code")
    assert "model_id" not in playground.page.inner_text("#code")
    choice.select_option("acme/cars/3")
    expect(playground.page.locator("#code")).to_contain_text("acme/cars/3")


def test_the_choice_is_kept(several: str, open_page: Opener) -> None:
    playground = open_page(several)
    choice = playground.page.locator("#model-choice")
    choice.select_option("acme/cars/3")
    playground.page.reload()
    expect(choice).to_have_value("acme/cars/3")


def test_a_server_with_one_model_shows_its_name(playground: Playground) -> None:
    expect(playground.page.locator("#models")).to_be_hidden()
    expect(playground.page.locator("#one-model")).to_have_text("model tiny")
