import json
import os
from pathlib import Path

import pytest

from serve_app.label.lists import NoImages, coco_images
from serve_app.label.sources import list_images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.JPG", "a.png", "deep/er/c.webp", "notes.md", ".hidden.jpg", ".git/d.jpg", "._b.jpg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def names(*sources: str | Path, leave_out: Path | None = None) -> list[str]:
    return [image.name for image in list_images([str(source) for source in sources], leave_out).images]


def test_a_folder_gives_its_images_at_any_depth_and_nothing_hidden(photos: Path) -> None:
    assert names(photos) == ["a.png", "b.JPG", "deep/er/c.webp"]


def test_an_image_is_there_once_whatever_names_it(photos: Path) -> None:
    listing = list_images([str(photos), str(photos / "a.png"), str(photos / "deep" / ".." / "*.png")])
    assert [image.location for image in listing.images] == [
        str(photos / name) for name in ("a.png", "b.JPG", "deep/er/c.webp")
    ]


def test_a_glob_gives_what_it_matches(photos: Path) -> None:
    assert names(photos / "**" / "*.webp") == ["c.webp"]
    assert names(photos / "*.[pJ]*") == ["a.png", "b.JPG"]
    assert names(photos / "*") == ["a.png", "b.JPG"]


def test_a_folder_may_have_the_name_of_a_glob(tmp_path: Path) -> None:
    folder = tmp_path / "set [1]"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")
    assert names(folder) == ["a.png"]


def test_the_data_set_is_no_source_of_itself(photos: Path) -> None:
    inside = photos / "dataset" / "yolo-seg"
    inside.mkdir(parents=True)
    (inside / "a.png").write_bytes(b"x")
    assert names(photos, leave_out=photos / "dataset") == ["a.png", "b.JPG", "deep/er/c.webp"]
    assert len(names(photos)) == 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "# mine\nphotos/a.png\n\nphotos/b.JPG\n"),
        ("list.csv", "id,path\r\n1,photos/a.png\r\n2,photos/b.JPG\r\n"),
        ("list.jsonl", '"photos/a.png"\n{"image": "photos/b.JPG"}\n'),
        (
            "coco.json",
            json.dumps({"images": [{"id": 1, "file_name": f"photos/{name}"} for name in ("a.png", "b.JPG")]}),
        ),
    ],
)
def test_a_list_names_images_from_its_own_folder(photos: Path, name: str, text: str) -> None:
    path = photos.parent / name
    path.write_text(text)
    listing = list_images([str(path)])
    assert [image.location for image in listing.images] == [str(photos / "a.png"), str(photos / "b.JPG")]
    assert [image.name for image in listing.images] == ["photos/a.png", "photos/b.JPG"]


def test_the_paths_of_a_list_may_start_elsewhere(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "annotations" / "instances.json"
    path.parent.mkdir()
    row = {"id": 7, "file_name": "a.png", "coco_url": "https://example.com/a.png"}
    path.write_text(json.dumps({"images": [row]}))
    (image,) = list_images([str(path)], root=str(photos)).images
    assert (image.location, image.name) == (str(photos / "a.png"), "a.png")
    (image,) = list_images([str(path)]).images  # no such file at the list's own folder
    assert (image.location, image.name) == ("https://example.com/a.png", "a.png")
    (image,) = list_images([str(path)], root="s3://bucket/train/").images
    assert (image.location, image.name) == ("s3://bucket/train/a.png", "a.png")


def test_a_list_none_of_whose_files_is_there_is_refused_with_a_hint(photos: Path) -> None:
    path = photos.parent / "instances.json"
    path.write_text(json.dumps({"images": [{"id": 1, "file_name": "a.png"}]}))
    with pytest.raises(NoImages, match=f"{photos.parent}/a.png.*--root"):
        list_images([str(path)])
    assert list_images([str(path)], root=str(photos)).images[0].location == str(photos / "a.png")
    assert coco_images(path, str(photos))[1][1].location == str(photos / "a.png")


def test_a_list_of_a_storage_starts_at_its_place() -> None:
    import fsspec

    storage = fsspec.filesystem("memory")
    storage.pipe("/bucket/list.csv", b"Path\nset/a.png\n")
    storage.pipe("/bucket/set/a.png", b"x")
    try:
        (image,) = list_images(["memory://bucket/list.csv"]).images
        assert (image.location, image.name) == ("memory://bucket/set/a.png", "set/a.png")
    finally:
        storage.rm("/bucket", recursive=True)


def test_links_to_folders_are_followed_and_each_place_is_there_once(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "e.png").write_bytes(b"x")
    (photos / "more").symlink_to(tmp_path / "more")
    (photos / "deep" / "around").symlink_to(photos)
    assert names(photos) == ["a.png", "b.JPG", "deep/er/c.webp", "more/e.png"]


def test_a_list_may_name_what_is_not_there_which_a_run_then_tells(photos: Path) -> None:
    path = photos.parent / "list.txt"
    path.write_text("gone.png\nhttps://example.com/x/y.jpg?size=1\n/elsewhere/z.png\n")
    assert [(image.location, image.name) for image in list_images([str(path)]).images] == [
        ("/elsewhere/z.png", "z.png"),
        (str(photos.parent / "gone.png"), "gone.png"),
        ("https://example.com/x/y.jpg?size=1", "x/y.jpg"),
    ]


def test_the_name_of_a_url_has_an_ending_that_readers_of_labels_know(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    urls = [
        "https://a.example/id/1",
        "https://a.example/id/1/200",
        "https://a.example/",
        "https://a.example/b.PNG?w=1",
    ]
    path.write_text("\n".join(urls))
    named = {image.location: image.name for image in list_images([str(path)]).images}
    assert [named[url] for url in urls] == ["id/1.jpg", "id/1/200.jpg", "a.example.jpg", "b.PNG"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", "id\n1\n"),
        ("l.jsonl", "{\n"),
        ("l.jsonl", "3\n"),
        ("l.json", "[]"),
        ("l.json", '{"images": [{}]}'),
        ("l.txt", ""),
    ],
)
def test_a_list_that_names_no_image_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(NoImages, match=name):
        list_images([str(tmp_path / name)])


def test_a_source_without_images_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("empty", "gone", "*.png", "gone.jpg"):
        with pytest.raises(NoImages, match=source.replace("*", r"\*")):
            list_images([str(tmp_path / source)])


def test_a_name_of_control_characters_is_refused_and_told_without_them(photos: Path) -> None:
    (photos / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    (photos / "two\nlines.jpg").write_bytes(b"x")
    (photos / "\x1b[2Jclear.jpg").write_bytes(b"x")
    (photos / "grün.jpg").write_bytes(b"x")
    listing = list_images([str(photos)])
    assert [image.name for image in listing.images] == ["a.png", "b.JPG", "deep/er/c.webp", "grün.jpg"]
    assert sorted(listing.refused) == [
        rf"{photos}/\x1b[2Jclear.jpg",
        rf"{photos}/caf\udce9.jpg",
        rf"{photos}/two\nlines.jpg",
    ]


@pytest.mark.parametrize(
    "name", ["Screenshot at 10.15.00\u202fAM.png", "\U0001f468\u200d\U0001f467.jpg", "no\u00a0break.jpg"]
)
def test_names_that_people_and_their_machines_give_are_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    listing = list_images([str(tmp_path)])
    assert [image.name for image in listing.images] == [name]
    assert listing.refused == {}


def test_a_storage_gives_the_images_below_a_place() -> None:
    import fsspec

    storage = fsspec.filesystem("memory")
    for name in ("a.png", "deep/b.jpg", "notes.md"):
        storage.pipe(f"/bucket/set/{name}", b"x")
    try:
        listing = list_images(["memory://bucket/set"])
        assert [image.name for image in listing.images] == ["a.png", "deep/b.jpg"]
        assert listing.images[0].location == "memory:///bucket/set/a.png"
        assert [image.name for image in list_images(["memory://bucket/set/a.png"]).images] == ["a.png"]
        with pytest.raises(NoImages):
            list_images(["memory://bucket/other"])
    finally:
        storage.rm("/bucket", recursive=True)
