"""``segattn data import``: what it prints, its exit codes, and what can be done with the result."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image

from segattn_cli.commands.data_import import import_annotations
from segattn_cli.data import open_dataset
from segattn_cli.data.annotations.tools import TOOLS
from segattn_cli.errors import ExitCode

EXPORTS = Path(__file__).parents[1] / "data" / "annotations" / "exports"


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Path]:
    """``source(count)``: images with LabelMe's documents, a car in each."""

    def make(count: int = 5, size: tuple[int, int] = (4, 6)) -> Path:
        folder = tmp_path / "my photos"
        folder.mkdir()
        for number in range(count):
            Image.fromarray(np.full((*size, 3), number % 256, np.uint8)).save(folder / f"{number}.png")
            car = {"label": "car", "points": [[0, 0], [6, 0], [6, 2], [0, 2]], "shape_type": "polygon"}
            line = {"label": "kerb", "points": [[0, 0], [6, 0]], "shape_type": "line"}
            document = {"shapes": [car, line], "imagePath": f"{number}.png", "imageData": None}
            (folder / f"{number}.json").write_text(json.dumps(document))
        return folder

    return make


def test_what_it_prints(cli: Any, source: Callable, tmp_path: Path) -> None:
    folder, out = source(), tmp_path / "a data set"
    result = cli("data", "import", folder, "--out", out)
    assert result.code == 0
    assert result.out.splitlines() == [
        f"{folder} (labelme): 5 images to {out}",
        "train 4, val 1, of which val was drawn by name",
        "",
        "   0  background   50.00 %  unlabelled pixels",
        "   1  car          50.00 %",
        "",
        "Left out:",
        "     5  points and lines, which enclose nothing (0.json, 1.json, 2.json, …)",
        "",
        f"Next: segattn data check '{out}'",
    ]


def test_what_comes_next(cli: Any, source: Callable, tmp_path: Path) -> None:
    cli("data", "import", source(), "--out", tmp_path / "out")
    checked = cli("data", "check", tmp_path / "out")
    assert checked.code == 0
    assert "✓ All 5" in checked.out
    assert len(open_dataset(tmp_path / "out", split="val")) == 1


def test_json(cli: Any, source: Callable, tmp_path: Path) -> None:
    folder, out = source(), tmp_path / "out"
    result = cli("data", "import", folder, "--out", out, "--json", "--val", 0.4)
    assert json.loads(result.out) == {
        "source": str(folder),
        "out": str(out),
        "format": "labelme",
        "images": {"train": 3, "val": 2},
        "val_drawn": True,
        "classes": ["background", "car"],
        "background": "background",
        "pixels": {"background": 60, "car": 60},
        "ignored_pixels": 0,
        "overlaps": "order",
        "decided": {},
        "left_out": {"points and lines, which enclose nothing": 5},
        "refused": [],
    }


def test_images_that_are_refused_are_named(cli: Any, source: Callable, tmp_path: Path) -> None:
    folder = source(30)
    for number in range(25):
        (folder / f"{number}.json").write_text('{"shapes": [}, "imagePath": 1}')
    result = cli("data", "import", folder, "--out", tmp_path / "out")
    assert result.code == ExitCode.PARTIAL
    assert result.err.count(".json cannot be used: Invalid JSON") == 20
    assert "segattn: 5 more images cannot be imported; --json names them all." in result.err
    assert "train 4, val 1" in result.out


def test_nothing_left_is_an_error(cli: Any, source: Callable, tmp_path: Path) -> None:
    folder = source(1)
    (folder / "0.json").write_text('{"shapes": ' + "[" * 100_000 + ', "imagePath": 1}')
    result = cli("data", "import", folder, "--out", tmp_path / "out")
    assert result.code == ExitCode.DATA
    assert "has nothing to import" in result.err
    assert "recursion limit exceeded" in result.err
    assert not (tmp_path / "out").exists()


def test_an_image_from_elsewhere(cli: Any, source: Callable, tmp_path: Path) -> None:
    folder = source(1)
    (folder / "1.json").write_text('{"shapes": [], "imagePath": "../../../etc/passwd"}')
    result = cli("data", "import", folder, "--out", tmp_path / "out")
    assert result.code == ExitCode.DATA
    assert "1.json names the image ../../../etc/passwd" in result.err
    assert "--images DIR" in result.err


def test_a_folder_that_is_not_empty_is_left_alone(cli: Any, source: Callable, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    result = cli("data", "import", source(), "--out", tmp_path / "out")
    assert result.code == ExitCode.OUTPUT
    assert "out is not empty: choose another --out." in result.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]


def test_images_in_another_folder(cli: Any, source: Callable, tmp_path: Path) -> None:
    folder = source()
    documents = tmp_path / "documents"
    documents.mkdir()
    for path in folder.glob("*.json"):
        path.rename(documents / path.name)
    missing = cli("data", "import", documents, "--out", tmp_path / "first")
    assert missing.code == ExitCode.DATA
    assert "there is no image of this name below" in missing.err
    result = cli("data", "import", documents, "--images", folder, "--out", tmp_path / "out")
    assert result.code == 0
    assert "5 images" in result.out


def test_options_of_exports(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("tree\nroad\ncar\n")
    result = cli(
        "data", "import", EXPORTS / "coco", "--out", tmp_path / "out", "--format", "coco", "--link", "--val", 0,
        "--overlaps", "order", "--unlabelled", "ignore", "--unannotated", "unlabelled", "--json", "--classes",
        tmp_path / "list.txt",
    )
    summary = json.loads(result.out)
    assert summary["classes"] == ["tree", "road", "car"]
    assert summary["background"] is None
    assert summary["ignored_pixels"] > 0
    assert summary["overlaps"] == "order"
    assert summary["images"] == {"train": 2}
    assert all(path.is_symlink() for path in (tmp_path / "out" / "images").glob("*/*.png"))


def test_all_formats_can_be_named() -> None:
    hint = get_type_hints(import_annotations)["format"]
    assert set(get_args(hint)) == {"auto", *TOOLS}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--format", "pascal"], "'pascal'"), (["--val", "1.5"], "--val"), (["--overlaps", "size"], "'size'")],
)
def test_options_that_cannot_be(
    cli: Any, source: Callable, tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = cli("data", "import", source(), "--out", tmp_path / "out", *arguments)
    assert result.code == ExitCode.USAGE
    assert words in result.err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_import_leaves_nothing(source: Callable, tmp_path: Path, number: signal.Signals) -> None:
    folder, out = source(400, (300, 400)), tmp_path / "out"
    command = [sys.executable, "-m", "segattn_cli.app", "data", "import", str(folder), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list(out.rglob("*.png")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert not list(out.rglob("*"))
