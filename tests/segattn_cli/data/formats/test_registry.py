from __future__ import annotations

from pathlib import Path

import pytest

from segattn_cli.data import SceneOptions, open_dataset, splits_of
from segattn_cli.errors import ConfigError, DataError


def test_scenes_need_no_folder() -> None:
    dataset = open_dataset("scenes", split="test", scenes=SceneOptions(count=3, size=(20, 30)))
    assert (dataset.format, len(dataset), dataset.load(0).label.shape) == ("scenes", 3, (20, 30))
    assert open_dataset("scenes", size=(8, 9), scenes=SceneOptions(size=(20, 30))).load(0).label.shape == (8, 9)
    assert splits_of("scenes") == ("train", "val", "test")


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist: give a folder, or 'scenes'"):
        open_dataset(tmp_path / "nowhere")


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file is not a folder"):
        open_dataset(tmp_path / "file")


def test_a_folder_in_no_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is in no known layout .*: the simplest is images/ and masks/ with a "):
        open_dataset(tmp_path)


@pytest.mark.parametrize("format", ["camvid", "voc", "folder"])
def test_a_layout_insisted_on_but_not_there(tmp_path: Path, format: str) -> None:
    with pytest.raises(DataError, match=r"has no split 'train': it has none"):
        open_dataset(tmp_path, format=format)


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Unknown data format 'camvit' \(did you mean camvid\?\): choose"):
        open_dataset(tmp_path, format="camvit")


def test_scenes_are_not_read_from_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a folder of that name is ./scenes"):
        open_dataset("scenes", format="voc")
    with pytest.raises(ConfigError, match=r"drawn, not read"):
        open_dataset(tmp_path, format="scenes")
