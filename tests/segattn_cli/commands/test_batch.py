"""``--batch`` changes neither what is printed nor what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segattn_cli.errors import ExitCode
from segattn_cli.prediction.passes import Passes


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each pass of a network has had."""
    seen: list[int] = []
    outputs = Passes.outputs

    def watched(self: Passes, images: np.ndarray) -> Any:
        seen.append(len(images))
        return outputs(self, images)

    monkeypatch.setattr(Passes, "outputs", watched)
    return seen


@pytest.fixture
def many(photos: Path) -> Path:
    """Seven images, five of one size, and two files that are none among them."""
    for number in range(1, 5):
        image = np.random.default_rng(number).integers(0, 60 * number, (24, 32, 3), np.uint8)
        Image.fromarray(image).save(photos / f"b{number}.png")
    (photos / "b2-empty.png").write_bytes(b"")
    (photos / "b3-cut.png").write_bytes((photos / "b3.png").read_bytes()[:-100])
    return photos


def lines_of(text: str) -> list[dict[str, Any]]:
    """The objects that were printed, without times and the folder of the outputs."""
    lines = map(json.loads, text.replace("/alone/", "/out/").replace("/together/", "/out/").splitlines())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.mark.parametrize(
    "options", [[], ["--overlay", "--confidence", "--flip"], ["--scores", "--scales", "0.5,1"]]
)
def test_infer_prints_and_writes_the_same(
    cli: Any, run: Path, many: Path, tmp_path: Path, options: list[str], passes: list[int]
) -> None:
    command = ("infer", run, many, "--json", "--backend", "numba", *options)
    alone = cli(*command, "--out", tmp_path / "alone")
    assert set(passes) == {1}
    passes.clear()
    together = cli(*command, "--out", tmp_path / "together", "--batch", "4")
    assert passes[1 if len(options) < 3 else 2] == 4
    assert (alone.code, together.code) == (ExitCode.PARTIAL, ExitCode.PARTIAL)
    assert lines_of(together.out) == lines_of(alone.out)
    assert together.err == alone.err
    files = {path.name: path.read_bytes() for path in (tmp_path / "alone").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "together").iterdir()} == files
    assert len(files) == 7 * (1 if not options else 3 if "--flip" in options else 2)


def test_what_is_done_is_skipped_within_a_batch(
    cli: Any, run: Path, many: Path, tmp_path: Path, passes: list[int]
) -> None:
    command = ("infer", run, many, "--out", tmp_path / "out", "--backend", "numpy", "--batch", "3")
    cli(*command)
    for name in ("b.png", "b1.png", "b3.png", "b4.png"):
        (tmp_path / "out" / name).unlink()
    passes.clear()
    assert cli(*command, "--resume").err.splitlines()[-1] == "4 segmented, 3 skipped, 2 failed"
    assert passes == [3, 1]  # b2.png is among the first three


def test_eval_counts_the_same(cli: Any, run: Path, tmp_path: Path, passes: list[int]) -> None:
    found = []
    for batch in ("1", "2"):
        file = tmp_path / f"{batch}.json"
        assert cli("eval", run, "--json", file, "--backend", "numba", "--batch", batch).code == ExitCode.OK
        found.append(json.loads(file.read_text()))
        del found[-1]["seconds"]
    assert found[0] == found[1]
    assert passes == [1, 1, 1, 2, 1]


@pytest.mark.parametrize("batch", ["0", "9" * 21])
@pytest.mark.parametrize("command", ["infer", "eval"])
def test_no_batch_at_all(cli: Any, run: Path, command: str, batch: str) -> None:
    done = cli(command, run, "--batch", batch)
    assert done.code == ExitCode.USAGE
    assert "--batch" in done.err


def test_images_that_are_waited_for_have_none(cli: Any, run: Path, photos: Path, tmp_path: Path) -> None:
    done = cli("infer", run, "--watch", photos, "--out", tmp_path / "out", "--batch", "2")
    assert (done.code, done.err) == (
        ExitCode.USAGE, "segattn: --watch segments each image as it comes: leave out --batch.\n",
    )  # fmt: skip
