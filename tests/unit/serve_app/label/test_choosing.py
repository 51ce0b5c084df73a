import pytest

from serve_app.label.choosing import Split, chosen
from serve_app.label.lists import SourceImage

IMAGES = [SourceImage(f"/{number:04d}.png", f"{number:04d}.png") for number in range(2000)]


def test_a_sample_comes_from_anywhere_and_is_the_same_each_time() -> None:
    sample = chosen(IMAGES, None, 50)
    assert sample == chosen(IMAGES, None, 50)
    assert len(sample) == 50
    assert sample == sorted(sample, key=lambda image: image.location)
    assert 5 < sum(image.location < "/1000.png" for image in sample) < 45
    assert set(chosen(IMAGES, None, 10)) <= set(sample)


def test_a_limit_takes_the_first_and_neither_takes_all() -> None:
    assert chosen(IMAGES, 3, None) == IMAGES[:3]
    assert chosen(IMAGES, None, None) == IMAGES
    assert chosen(IMAGES[:2], 3, 5) == IMAGES[:2]


def test_a_sample_with_a_limit_is_of_the_first_images() -> None:
    sample = chosen(IMAGES, 100, 10)
    assert len(sample) == 10
    assert set(sample) <= set(IMAGES[:100])
    assert sample == chosen(IMAGES[:100], None, 10)


def test_splits_have_their_shares_and_depend_on_the_name_alone() -> None:
    split = Split(val=0.2, test=0.1)
    found = [split.of(image.name) for image in IMAGES]
    shares = {name: found.count(name) / len(found) for name in split.names}
    assert shares == pytest.approx({"train": 0.7, "val": 0.2, "test": 0.1}, abs=0.04)
    assert [split.of(image.name) for image in IMAGES[::-1]] == found[::-1]


def test_more_images_for_training_move_none_out_of_the_tests() -> None:
    less, more = Split(val=0.1, test=0.1), Split(val=0.0, test=0.1)
    assert all(less.of(image.name) == "test" for image in IMAGES if more.of(image.name) == "test")


def test_a_folder_stays_together_on_request() -> None:
    split = Split(val=0.5, by_folder=True)
    found = [{split.of(f"film{film}/{frame}.jpg") for frame in range(20)} for film in range(30)]
    assert all(len(of_film) == 1 for of_film in found)
    assert {name for of_film in found for name in of_film} == {"train", "val"}


@pytest.mark.parametrize(("val", "test"), [(0.6, 0.5), (-0.1, 0), (0, 1.1)])
def test_shares_of_more_than_a_whole_are_refused(val: float, test: float) -> None:
    with pytest.raises(ValueError):
        Split(val, test)


def test_a_split_without_images_has_no_name() -> None:
    assert Split(0, 0).names == ["train"]
    assert Split(1, 0).names == ["val"]
