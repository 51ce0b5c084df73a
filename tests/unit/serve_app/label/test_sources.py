import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


def names(*sources: str | Path, output: Path | None = None) -> list[str]:
    return [image.name for image in list_images([str(source) for source in sources], output).images]


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
    assert names(photos, output=photos / "dataset") == ["a.png", "b.JPG", "deep/er/c.webp"]
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
        ("l.jsonl", "[" * 100_000),
        ("l.json", '{"images": ' + "[" * 100_000),
        ("l.json", '{"images": {}}'),
        ("l.txt", "http://[::1/a.png"),
    ],
)
def test_a_list_that_names_no_image_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(NoImages, match=name):
        list_images([str(tmp_path / name)])


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("l.jsonl", '"a.png"\n{', "line 2: it is not JSON"),
        ("l.jsonl", '"a.png"\n\n3', "line 3: expected an object or a text, not '3'"),
        ("l.jsonl", '"a.png"\n' + "[" * 100_000, "line 2: it is nested too deeply"),
        ("l.csv", 'path\na.png\n""\n', "line 3: a row has none of the columns"),
        ("l.json", '{"images": [{"path": "a.png"}, {}]}', "image 2: a row has none of the columns"),
        ("l.txt", "a.png\nhttp://[::1/a.png\n", "line 2: 'http://\\[::1/a.png' is no URL: Invalid IPv6 URL"),
    ],
)
def test_the_row_that_is_wrong_is_named(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(NoImages, match=rf"{name} is no list of images: {told}"):
        list_images([str(tmp_path / name)])


def test_a_list_that_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes(b"caf\xe9.png")
    with pytest.raises(NoImages, match="it is not valid UTF-8"):
        list_images([str(tmp_path / "l.txt")])


@pytest.mark.parametrize("other", ["l.txt", "./m.jsonl", "m.parquet", "https://example.com/m.CSV?x=1"])
def test_a_list_names_no_further_lists_and_so_not_itself(tmp_path: Path, other: str) -> None:
    (tmp_path / "l.txt").write_text(f"a.png\n{other}\n")
    (tmp_path / "m.jsonl").write_text('"l.txt"')
    with pytest.raises(NoImages, match=r"line 2: '.*' is a list itself"):
        list_images([str(tmp_path / "l.txt")])


def test_a_tilde_in_a_list_is_a_name_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("~/a.png", "~nobody/b.png", "~no-such-user/c.png"):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_bytes(b"x")
    (tmp_path / "l.txt").write_text("~/a.png\n~nobody/b.png\n~no-such-user/c.png\n")
    assert names(tmp_path / "l.txt") == ["~/a.png", "~no-such-user/c.png", "~nobody/b.png"]
    assert names(tmp_path / "~no-such-user") == ["c.png"]


@pytest.mark.parametrize("source", ["http://[::1/list.txt", "s3://[a", "file://[a/b"])
def test_a_url_that_is_none_is_refused_in_words(source: str) -> None:
    with pytest.raises(NoImages, match="is no URL"):
        list_images([source])


class _Refusing(BaseHTTPRequestHandler):
    """Answers with the status that the path begins with."""

    def do_GET(self) -> None:
        self.send_error(int(self.path[1:4]))

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
@pytest.mark.parametrize("ending", [".txt", ".json", ".parquet"])
def test_the_status_of_a_list_on_the_web_is_told(refusing: str, status: int, ending: str) -> None:
    url = f"{refusing}/{status}/list{ending}"
    with pytest.raises(NoImages, match=f"list{ending} is no list of images: its server answers {status} .*"):
        list_images([url])


def test_a_list_whose_server_is_away_is_refused(refusing: str) -> None:
    with pytest.raises(NoImages, match=r"list.txt is no list of images: .*"):
        list_images(["http://127.0.0.1:1/list.txt"])


@pytest.mark.parametrize(
    "output", ["photos", "photos/deep", "photos/deep/er", ".", "photos/../photos", "link"]
)
def test_an_output_folder_that_holds_a_source_is_refused(
    photos: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    Path("link").symlink_to(photos)
    with pytest.raises(NoImages, match=rf"lies in {output}, the folder of the data set: choose an output"):
        list_images(["photos"], Path(output))
    listing = photos.parent / "list.txt"
    listing.write_text("photos/deep/er/c.webp\nphotos/b.JPG\nphotos/a.png")
    with pytest.raises(NoImages, match="the folder of the data set"):
        list_images([str(listing)], Path(output))


def test_the_data_sets_own_images_alone_are_no_source(photos: Path) -> None:
    inside = photos / "dataset" / "voc" / "JPEGImages"
    inside.mkdir(parents=True)
    (inside / "a.png").write_bytes(b"x")
    with pytest.raises(NoImages, match="has no image but those of the data set in "):
        list_images([str(inside)], photos / "dataset")
    assert list_images([str(inside), str(photos / "a.png")][1:], photos / "dataset").images


def test_a_source_without_images_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoImages, match="empty text"):
        list_images([""])
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
