from __future__ import annotations

import os
from pathlib import Path

from segattn_cli.data.listing import (
    BROKEN,
    ENDING,
    HIDDEN,
    NO_FILE,
    SEEN,
    LeftOut,
    list_images,
    subfolders,
    walk_images,
)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_of_systems_are_none_of_ours(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/x.png" for name in ("__MACOSX", "@eaDir", ".ipynb_checkpoints", "train")))
    assert list(subfolders(tmp_path)) == ["train"]


def test_links_are_followed_and_each_folder_is_entered_once(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    touch(tmp_path, "photos/own.png", "store/a.png", "store/deep/b.png")
    (root / "first").symlink_to("../store")
    (root / "second").symlink_to("../store")
    (root / "circle").symlink_to(".")
    (root / "gone.png").symlink_to("nothing.png")
    (root / "twin.png").symlink_to("own.png")
    found = list(walk_images(root))
    images = [path.relative_to(root).as_posix() for path in found if isinstance(path, Path)]
    assert images == ["own.png", "twin.png", "first/a.png", "first/deep/b.png"]
    left_out = {(each.path.name, each.reason) for each in found if isinstance(each, LeftOut)}
    assert left_out == {("second", SEEN), ("circle", SEEN), ("gone.png", BROKEN)}


def test_what_is_left_out_has_a_reason(tmp_path: Path) -> None:
    touch(tmp_path, "a.JFIF", "b.heic", "._a.jfif", ".ipynb_checkpoints/a-checkpoint.jpg", ".DS_Store")
    listing = list_images(tmp_path)
    assert list(listing.images) == ["a"]
    reasons = {each.path.name: each.reason for each in listing.left_out}
    assert reasons == {"b.heic": ENDING, "._a.jfif": HIDDEN, ".ipynb_checkpoints": HIDDEN}


def test_names_are_compared_composed(tmp_path: Path) -> None:
    touch(tmp_path, "Cafe\u0301.png")
    assert list(list_images(tmp_path).images) == ["Caf\u00e9"]


def test_pipes_and_devices_are_left_out(tmp_path: Path) -> None:
    """An archive may hold a pipe, which would be waited for for ever."""
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    (tmp_path / "c.png").touch()
    (tmp_path / "d.png").symlink_to("d.png")
    images, left_out = list_images(tmp_path)
    assert list(images) == ["c"]
    assert {(path.name, reason) for path, reason in left_out} == {
        ("a.png", NO_FILE), ("b.png", NO_FILE), ("d.png", BROKEN),
    }  # fmt: skip
    assert not subfolders(tmp_path)
