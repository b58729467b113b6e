from __future__ import annotations

from pathlib import Path

import pytest

from segattn_cli.data.lists import MOST_BLANKS, ListRow, Tree, _cells, _row, read_rows


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "x.png", "train/x.png", "CamVid/train/x.png", "train/x.y.jpg", "train/frame 1.png", "masks/frame 1.png",
        "val/only.png", "train/Caf\u00e9.jpg", "train/UPPER.JPG", "masks/x.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("/SegNet/CamVid/train/x.png", "CamVid/train/x.png"),  # the longest tail
        ("/home/me/train/x.png", "train/x.png"),
        ("C:\\a\\train\\x.png", "train/x.png"),
        ("./train/x.jpg", "train/x.png"),  # another ending
        ("train/x.y.png", "train/x.y.jpg"),  # a name with dots keeps them
        ("train/upper.jpg", None),  # names have their case, endings have none
        ("train/UPPER.jpg", "train/UPPER.JPG"),
        ("train/Cafe\u0301.jpg", "train/Caf\u00e9.jpg"),
        ("train/only.png", None),  # begins with a folder that exists: not the file of that name elsewhere
        ("/a/train/only.png", None),
        ("../outside.png", None),
        ("x.png", "x.png"),
    ],
)
def test_paths_as_lists_write_them(root: Path, written: str, found: str | None) -> None:
    (root.parent / "outside.png").touch()
    assert Tree(root).find(written) == (None if found is None else root / found)


def test_bytes_of_another_encoding(root: Path) -> None:
    """A list in Windows' encoding finds a name in UTF-8, and one whose bytes are the list's own."""
    (root / "train" / "gr\u00fcn.png").touch()
    (root / "train" / "stra\udcdfe.png").touch()
    (root / "list.txt").write_bytes(b"train/gr\xfcn.png\ntrain/stra\xdfe.png\n")
    tree = Tree(root)
    rows = read_rows(root / "list.txt", lambda written: tree.find(written) is not None)
    assert [tree.find(row.image) for row in rows] == [root / "train/gr\u00fcn.png", root / "train/stra\udcdfe.png"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (b"train/frame 1.png masks/frame 1.png\n", [("train/frame 1.png", "masks/frame 1.png")]),
        (b"\xef\xbb\xbftrain/x.png masks/x.png\r\n\r\n", [("train/x.png", "masks/x.png")]),
        ("train/x.png\tmasks/x.png\n".encode("utf-16"), [("train/x.png", "masks/x.png")]),
        (b"image,mask\ntrain/x.png, masks/x.png\n", [("train/x.png", "masks/x.png")]),
        (b'"train/frame 1.png";"masks/frame 1.png"\n', [("train/frame 1.png", "masks/frame 1.png")]),
        (b"filename\n# a comment\nx\n", [("x", None)]),
        (b"x  1\nx -1\n", [("x", None), ("x", None)]),  # VOC's ImageSets/Main
        (b"train/frame 1\n", [("train/frame 1", None)]),
        (b"train/x.png masks/gone.png\n", [("train/x.png", "masks/gone.png")]),
        (b"train/gone.png masks/gone.png\n", [("train/gone.png", "masks/gone.png")]),
    ],
)
def test_rows(root: Path, text: bytes, rows: list[tuple[str, str | None]]) -> None:
    (root / "list.txt").write_bytes(text)
    tree = Tree(root)
    found = read_rows(root / "list.txt", lambda written: tree.find(written) is not None)
    assert found == [ListRow(*row) for row in rows]


def test_a_line_of_many_blanks_is_divided_at_the_first_of_them() -> None:
    """Each place is looked for on the disk: a line of 64 KB took minutes."""
    asked = []

    def exists(written: str) -> bool:
        asked.append(written)
        return False

    _row("a " * 10_000, exists)
    assert len(asked) < 5 * MOST_BLANKS


def test_a_cell_that_is_too_long_for_a_table() -> None:
    assert _cells("x" * 200_000 + ",y") == []
