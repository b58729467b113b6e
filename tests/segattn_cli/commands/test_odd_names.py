"""Names of classes and files that look like markup, formulas, or orders to a terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.errors import ExitCode

NAMES = ("[/x]", "[bold]wide", "$\\frac{$", "a\\", "[link=x]", "x" * 200, "\u5929")
#: What no list of classes may hold, but a checkpoint of somebody else can.
ORDER = "\x1b[31mred"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of each split, whose names are as odd as those of the classes."""
    root = tmp_path_factory.mktemp("odd") / "set"
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for index in range(2):
            for kind, shape, most in (("images", (24, 32, 3), 256), ("masks", (24, 32), len(NAMES))):
                path = root / split / kind / f"{index}[z]\x1b[1m.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, most, shape, np.uint8)).save(path)
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return root


@pytest.mark.parametrize(
    "command",
    [
        ["data", "check", "DATA"],
        ["eval", "RUN", "--data", "DATA", "--backend", "reference", "--confusion", "confusion.png"],
        ["infer", "RUN", "DATA/val/images", "--out", "out", "--overlay", "--backend", "reference"],
        ["summary", "RUN"],
        ["weights", "show", "RUN"],
    ],
    ids=lambda command: command[0],
)
def test_they_are_printed_as_they_are(
    cli: Any, model_of: Callable[..., Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    reads_data = command[0] in ("data", "eval")
    classes = NAMES if reads_data else (ORDER, *NAMES)
    model = model_of(tmp_path / "run[/y]" / "model.safetensors", classes=classes)
    done = cli(*(each.replace("RUN", str(model)).replace("DATA", str(data)) for each in command))
    assert done.code == ExitCode.OK
    assert "\x1b" not in done.out + done.err
    if reads_data:
        for name in NAMES:
            assert name in done.out
    if command[0] == "infer":
        assert "0[z]?[1m" in done.out
