import pytest

from serve_app.label.pipeline import Scale, scale_of


@pytest.mark.parametrize(
    ("device", "actors", "resources", "expected"),
    [
        ("auto", None, {"CPU": 8}, Scale(1, 0, 8, 8)),
        ("auto", 3, {"CPU": 8}, Scale(3, 0, 8, 8)),
        ("auto", None, {"CPU": 8, "GPU": 4}, Scale(4, 1, 8, 64)),
        ("cpu", None, {"CPU": 8, "GPU": 4}, Scale(1, 0, 8, 8)),
        ("cuda", 32, {}, Scale(32, 1, 8, 64)),
        ("cuda", None, {}, Scale(1, 1, 8, 64)),
    ],
)
def test_models_are_where_gpus_are_or_will_be(
    device: str, actors: int | None, resources: dict[str, float], expected: Scale
) -> None:
    assert scale_of(device, actors, 8, resources) == expected
