"""Images a second beside PyTorch: both predict the same, and what is written is what was measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
from benchmarks import command_line, many_pictures

pytestmark = pytest.mark.torch


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``call(*options)``: the exit code, and stderr."""

    def run(*options: str) -> tuple[int, str]:
        small = ["--set", "network.head_channels=8", "--set", "network.scale_attention_channels=8"]
        arguments = ["tiny-scenes", *small, "--backend", "numpy", "--json", str(tmp_path / "rows.json"), *options]
        monkeypatch.setattr("segattn_cli.benchmarking.machine.matmul_gflops", lambda *size, **how: 1.0)  # seconds
        monkeypatch.setattr(sys, "argv", ["many_pictures", *arguments])
        with pytest.raises(SystemExit) as end:
            command_line.run(many_pictures.main)
        return int(end.value.code or 0), capsys.readouterr().err

    return run


def test_both_label_the_same_and_rows_say_how_fast(call: Any, tmp_path: Path) -> None:
    code, said = call("--size", "24,32", "--batch", "1,3", "--images", "5", "--rounds", "1", "--workers", "0")
    assert code == 0, said
    record = json.loads((tmp_path / "rows.json").read_text())
    assert (record["backend"], record["precision"], record["config"]) == ("numpy", "float32", "tiny-scenes")
    assert [(row["size"], row["batch"], row["images"], row["workers"]) for row in record["rows"]] == [
        ([24, 32], 1, 5, 0), ([24, 32], 3, 5, 0),
    ]  # fmt: skip
    for row in record["rows"]:
        assert row["same_labels"] > 0.99
        assert row["images_per_second"] == pytest.approx(5 / row["seconds"][0])
        assert row["ratio"] == pytest.approx(row["seconds"][0] / row["peer_seconds"][0])
    assert said.count("images/s") == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--batch", "1,x"), "--batch must be numbers such as 1,4,16, got '1,x'."),
        (("--batch", "0"), "--batch must be numbers"),
        (("--size", "none"), "--size must be height and width"),
    ],
)
def test_options_that_cannot_be(call: Any, options: tuple[str, ...], sentence: str) -> None:
    code, said = call(*options)
    assert code == 2
    assert sentence in said
