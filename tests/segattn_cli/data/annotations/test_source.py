"""Which file a document means by the name of an image."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from segattn_cli.data.annotations.source import Source, split_called
from segattn_cli.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def find(root: Path, written: str, document: str = "labels.json", images: str | None = None) -> str | None:
    found = Source(root, root / images if images else None).find_image(written, root / document)
    return None if found is None else found.relative_to(root).as_posix()


class TestFindingAnImage:
    def test_beside_the_document(self, tmp_path: Path) -> None:
        touch(tmp_path, "train/a.jpg", "valid/a.jpg")
        assert find(tmp_path, "a.jpg", "train/_annotations.coco.json") == "train/a.jpg"
        assert find(tmp_path, "a.jpg", "valid/_annotations.coco.json") == "valid/a.jpg"

    def test_in_another_folder_below_the_source(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/a.jpg")
        assert find(tmp_path, "a.jpg", "annotations/instances.json") == "images/a.jpg"

    def test_by_a_path_that_leads_there(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/a.jpg")
        assert find(tmp_path, "../images/a.jpg", "labels/a.json") == "images/a.jpg"
        assert find(tmp_path, "..\\images\\a.jpg", "labels/a.json") == "images/a.jpg"

    @pytest.mark.parametrize("written", ["/home/me/city/a.jpg", r"C:\city\a.jpg", "https://host/city/a.jpg"])
    def test_by_the_end_of_a_path_from_elsewhere(self, tmp_path: Path, written: str) -> None:
        touch(tmp_path, "photos/city/a.jpg", "photos/town/a.jpg")
        assert find(tmp_path, written) == "photos/city/a.jpg"

    def test_in_the_split_that_the_document_is_named_for(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/train/a.jpg", "images/val/a.jpg")
        assert find(tmp_path, "a.jpg", "annotations/instances_val.json") == "images/val/a.jpg"

    def test_only_where_the_document_has_its_images(self, tmp_path: Path) -> None:
        touch(tmp_path, "train/b.jpg", "valid/a.jpg")
        assert find(tmp_path, "a.jpg", "train/_annotations.coco.json") is None

    def test_with_another_ending_another_case_or_another_unicode_form(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/a.JPG", "images/" + unicodedata.normalize("NFD", "Café.png"))
        assert find(tmp_path, "a.jpg") == "images/a.JPG"
        assert find(tmp_path, "a.png") == "images/a.JPG"
        assert find(tmp_path, unicodedata.normalize("NFC", "café.png")) is not None

    def test_the_right_ending_goes_before_another(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/a.png", "images/a.jpg")
        assert find(tmp_path, "a.png") == "images/a.png"

    def test_in_a_folder_that_is_given(self, tmp_path: Path) -> None:
        touch(tmp_path, "source/a.jpg", "photos/a.jpg")
        source = Source(tmp_path / "source", tmp_path / "photos")
        assert source.find_image("a.jpg", tmp_path / "source" / "a.json") == tmp_path / "photos" / "a.jpg"

    def test_that_may_be_several(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/one/a.jpg", "images/two/a.jpg")
        with pytest.raises(DataError, match=r"names the image a.jpg, which may be \S+one/a.jpg or \S+two/a.jpg"):
            find(tmp_path, "a.jpg")

    def test_that_is_not_there(self, tmp_path: Path) -> None:
        touch(tmp_path, "images/b.jpg")
        assert find(tmp_path, "a.jpg") is None
        assert find(tmp_path, "") is None

    @pytest.mark.parametrize("written", ["../../etc/passwd", "/etc/passwd", "http://host/a.jpg", "C:/a.jpg"])
    def test_that_would_be_elsewhere(self, tmp_path: Path, written: str) -> None:
        touch(tmp_path, "source/b.jpg", "a.jpg")
        with pytest.raises(DataError, match=r"labels.json names the image \S+, and \S+ has none of that name"):
            find(tmp_path / "source", written)

    def test_never_leaves_the_source(self, tmp_path: Path) -> None:
        touch(tmp_path, "source/b.jpg", "secret.jpg")
        with pytest.raises(DataError, match=r"secret\.jpg"):
            find(tmp_path / "source", "../secret.jpg")


class TestFiles:
    def test_hidden_and_system_folders_are_left_out(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.jpg", ".b.jpg", ".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg", "x/@eaDir/a.jpg")
        assert Source(tmp_path).images == [tmp_path / "a.jpg"]

    def test_links_are_followed_once(self, tmp_path: Path) -> None:
        touch(tmp_path, "elsewhere/a.jpg", "source/b.jpg")
        os.symlink(tmp_path / "elsewhere", tmp_path / "source" / "linked")
        os.symlink(tmp_path / "source", tmp_path / "source" / "round")
        assert [path.name for path in Source(tmp_path / "source").images] == ["b.jpg", "a.jpg"]

    def test_one_document(self, tmp_path: Path) -> None:
        touch(tmp_path, "one.json", "two.json", "a.jpg")
        source = Source(tmp_path / "one.json")
        assert source.documents(".json") == [tmp_path / "one.json"]
        assert source.images == [tmp_path / "a.jpg"]

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="nowhere does not exist"):
            Source(tmp_path / "nowhere")
        with pytest.raises(DataError, match="photos does not exist"):
            Source(tmp_path, tmp_path / "photos")

    def test_archives(self, tmp_path: Path) -> None:
        touch(tmp_path, "export.zip")
        with pytest.raises(DataError, match=r"export.zip is an archive: unpack it"):
            Source(tmp_path / "export.zip")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training", "train"), ("train2017", "train"), ("instances_val2017", "val"),
        ("valid", "val"), ("validation", "val"), ("test", "test"), ("default", None), ("constrain", None),
        ("train_and_val", None),
    ],
)  # fmt: skip
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_called(name) == split


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to("/dev/zero")
    (tmp_path / "c.json").touch()
    assert [path.name for path in Source(tmp_path).files] == ["c.json"]
