"""Reading labelling configurations."""

import pytest

from serve_app.http.errors import InvalidRequest
from serve_app.http.tools.label_studio.config import parse_config

IMAGE = '<Image name="image" value="$picture"/>'


def config(*controls: str, image: str = IMAGE) -> str:
    return f"<View><Header value='Car'/>{image}<View>{''.join(controls)}</View></View>"


def test_labels_are_phrases_and_may_have_others() -> None:
    found = parse_config(
        config(
            '<BrushLabels name="mask" toName="image"><Label value="Car"/><Label value="P" alias="pole"/>'
            '<Label value="L" alias="lamp" sam3_phrase=" street lamp "/></BrushLabels>'
        )
    )
    assert found.images == {"image": "picture"}
    assert found.controls[0].labels == {"Car": "Car", "pole": "pole", "lamp": "street lamp"}
    assert (found.controls[0].threshold, found.controls[0].model) == (None, None)


def test_smart_tools_are_for_prompts_where_another_tool_has_the_label() -> None:
    found = parse_config(
        config(
            '<RectangleLabels name="box" toName="image" smart="true"><Label value="A"/><Label value="B"/>'
            "</RectangleLabels>",
            '<KeyPointLabels name="click" toName="image" smart="true"><Label value="A"/></KeyPointLabels>',
            '<PolygonLabels name="outline" toName="image"><Label value="A"/></PolygonLabels>',
        )
    )
    assert [(control.name, label) for control, label in found.makers()] == [("box", "B"), ("outline", "A")]
    assert found.maker("A", "image")[0].name == "outline"
    assert found.maker("B", "image")[0].name == "box"
    control, label = found.maker("of a click alone", None)
    assert label in control.labels


def test_a_tool_is_about_its_own_image() -> None:
    images = '<Image name="one" value="$a"/><Image name="two" value="$b"/><Text name="words" value="$t"/>'
    found = parse_config(
        config(
            '<BrushLabels name="left" toName="one"><Label value="A"/></BrushLabels>',
            '<BrushLabels name="right" toName="two"><Label value="A"/></BrushLabels>',
            '<BrushLabels name="none" toName="words"><Label value="A"/></BrushLabels>',
            image=images,
        )
    )
    assert found.maker("A", "two")[0].name == "right"
    assert {control.name for control in found.controls} == {"left", "right"}


@pytest.mark.parametrize(
    ("text", "say"),
    [
        ("", "not XML"),
        ("<View>", "not XML"),
        ("<View>\x00</View>", "not XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View>&a;</View>', "document type"),
        (" " * 1_000_001, "characters"),
        (config(*['<BrushLabels name="m" toName="image"><Label value="A"/></BrushLabels>'] * 257), "257"),
        (config('<BrushLabels name="m" toName="image" model_score_threshold="2"/>'), "threshold"),
        (config('<BrushLabels name="m" toName="image" model_score_threshold="high"/>'), "threshold"),
    ],
)
def test_configurations_that_cannot_be_used(text: str, say: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_config(text)
    message = refused.value.errors[0]["msg"]
    assert say in message or (say == "257" and "256 labels" in message)


def test_a_configuration_without_a_tool_of_ours_has_none() -> None:
    found = parse_config(config('<Choices name="c" toName="image"><Choice value="A"/></Choices>'))
    assert found.makers() == []
    with pytest.raises(InvalidRequest):
        found.maker("A", "image")
