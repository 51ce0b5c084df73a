import io

import pytest
from PIL import Image

from loadtest.corpus import Corpus, commented
from sam3_engine.types import ImageSize

SIZE = ImageSize(120, 160)


def test_a_seed_draws_the_same_scenes_and_another_seed_others() -> None:
    first, again, other = (Corpus.draw(seed, 2, SIZE).pictures for seed in (1, 1, 2))
    assert [p.jpeg for p in first] == [p.jpeg for p in again]
    assert first[0].jpeg != other[0].jpeg


def test_a_comment_changes_the_bytes_and_no_pixel() -> None:
    (picture,) = Corpus.draw(1, 1, SIZE).pictures
    one, two = picture.file("one"), picture.file("two")
    assert len({one, two, picture.jpeg}) == 3
    opened = [Image.open(io.BytesIO(file)) for file in (picture.jpeg, one, two)]
    assert opened[0].size == (SIZE.width, SIZE.height)
    assert len({image.tobytes() for image in opened}) == 1


def test_only_jpeg_files_take_comments() -> None:
    with pytest.raises(ValueError, match="JPEG"):
        commented(b"\x89PNG", "one")


def test_clicks_are_inside_the_shapes_and_present_concepts_are_drawn() -> None:
    for picture in Corpus.draw(3, 4, SIZE).pictures:
        for index, (x, y) in enumerate(picture.clicks):
            assert picture.scene.mask(index, SIZE)[int(y), int(x)]
        assert {f"{shape.colour} {shape.shape}" for shape in picture.scene.shapes} <= set(picture.present)
