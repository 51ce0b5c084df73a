"""Images in Parquet files, written as other programs write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serve_app.label.lists import NoImages
from serve_app.label.reading import read_file
from serve_app.label.sources import list_images
from tests.support.scenes import numbered

FILES = [numbered(number) for number in range(10)]


def written(folder: Path, name: str = "train-00000.parquet", group: int = 3, **columns: Any) -> Path:
    path = folder / name
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def hub(folder: Path) -> Path:
    """As `datasets` writes its feature Image."""
    rows = [{"bytes": content, "path": f"{number}.jpeg"} for number, content in enumerate(FILES)]
    return written(folder, image=rows, label=list(range(10)))


def plain(folder: Path) -> Path:
    return written(folder, file_name=[f"a/{number}.jpeg" for number in range(10)], jpg=FILES)


def odd(folder: Path) -> Path:
    return written(folder, blob=pa.array(FILES, pa.large_binary()), caption=["x"] * 10)


def frame(folder: Path) -> Path:
    path = folder / "train-00000.parquet"
    pd.DataFrame({"id": range(10), "image_bytes": FILES}).to_parquet(path)
    return path


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (hub, "train-00000/7.jpeg"),
        (plain, "train-00000/a/7.jpeg"),
        (odd, "train-00000/000000007.png"),
        (frame, "train-00000/7.png"),
    ],
)
def test_bytes_are_found_in_whatever_column_and_named_by_another(
    tmp_path: Path, write: Callable[[Path], Path], named: str
) -> None:
    path = write(tmp_path)
    images = list_images([str(path)]).images
    assert [image.location for image in images] == [f"{path}#{row:09d}" for row in range(10)]
    assert images[7].name == named
    assert [read_file(image.location) for image in images] == FILES


@pytest.mark.parametrize("order", [range(9, -1, -1), (5, 2, 8, 2, 9, 0), (0, 9, 1, 8)])
def test_rows_are_read_in_any_order(tmp_path: Path, order: Any) -> None:
    first, second = hub(tmp_path), written(tmp_path, "second.parquet", group=10, image=FILES[::-1])
    for row in order:
        assert read_file(f"{first}#{row:09d}") == FILES[row]
        assert read_file(f"{second}#{row:09d}") == FILES[9 - row]


def test_rows_of_one_large_group_are_read_forwards(tmp_path: Path) -> None:
    many = [str(number).encode() for number in range(1000)]
    path = written(tmp_path, group=1000, image=many)
    assert [read_file(f"{path}#{row:09d}") for row in range(0, 1000, 7)] == many[::7]


@pytest.mark.parametrize("column", ["URL", "image_url", "path"])
def test_paths_and_urls_are_read_as_those_of_a_list(tmp_path: Path, column: str) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    columns: dict[str, Any] = {column: ["a.png", "https://example.com/b.png"], "text": ["", ""]}
    path = written(tmp_path, **columns)
    assert [image.location for image in list_images([str(path)]).images] == [
        str(tmp_path / "a.png"),
        "https://example.com/b.png",
    ]


def test_a_row_without_bytes_says_so_and_stops_no_other(tmp_path: Path) -> None:
    path = written(tmp_path, image=pa.array([FILES[0], None, FILES[1]], pa.binary()))
    images = list_images([str(path)]).images
    assert read_file(images[0].location) == FILES[0]
    with pytest.raises(OSError, match=r"row 1 of .* holds no bytes"):
        read_file(images[1].location)
    assert read_file(images[2].location) == FILES[1]
    with pytest.raises(OSError, match=r"row 3 .* there are 3 rows"):
        read_file(f"{path}#000000003")


def test_a_file_that_is_gone_or_broken_is_an_error_of_its_images(tmp_path: Path) -> None:
    path = hub(tmp_path)
    location = list_images([str(path)]).images[0].location
    path.write_bytes(b"no parquet")
    with pytest.raises(OSError, match=r"row 0 of"):
        read_file(location)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_file(location)
    path = hub(tmp_path)
    assert read_file(location) == FILES[0]


def test_a_file_without_images_is_refused_with_its_columns(tmp_path: Path) -> None:
    with pytest.raises(NoImages, match=r"no column of images.*caption, url"):
        list_images([str(written(tmp_path, caption=["a"], url=[1]))])
    (tmp_path / "no.parquet").write_bytes(b"no parquet")
    with pytest.raises(NoImages, match=r"no\.parquet"):
        list_images([str(tmp_path / "no.parquet")])


def test_a_glob_and_a_storage_give_every_file(tmp_path: Path) -> None:
    import fsspec

    hub(tmp_path)
    written(tmp_path, "train-00001.parquet", image=FILES[:2])
    assert len(list_images([str(tmp_path / "*.parquet")]).images) == 12
    storage = fsspec.filesystem("memory")
    try:
        for path in tmp_path.glob("*.parquet"):
            storage.pipe(f"/bucket/{path.name}", path.read_bytes())
        images = list_images(["memory://bucket/*.parquet"]).images
        assert len(images) == 12
        assert [read_file(image.location) for image in images] == [*FILES, *FILES[:2]]
        assert len(list_images(["memory://bucket/train-00001.parquet"]).images) == 2
    finally:
        storage.rm("/bucket", recursive=True)
