"""The picture of a benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segattn_cli.benchmarking.measurements import Measurement, Row
from segattn_cli.benchmarking.plot import FASTER, SLOWER, draw_ratios
from segattn_cli.data.images import read_image


def row(suite: str, seconds: float, baseline_seconds: float | None) -> Row:
    baseline = None if baseline_seconds is None else Measurement(baseline_seconds, 0.0)
    ours = Measurement(seconds, 0.0)
    return Row(suite, "conv2d", "forward", "2×3", "float32", 3, ours, variant="torch", baseline=baseline)


def amount(image: np.ndarray, colour: str) -> int:
    wanted = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
    return int((image == wanted).all(-1).sum())


def test_bars_are_blue_where_ours_is_faster_and_orange_elsewhere(tmp_path: Path) -> None:
    draw_ratios([row("ops", 1.0, 4.0), row("networks", 1.0, 2.0)], tmp_path / "fast.png")
    draw_ratios([row("ops", 3.0, 1.0), row("ops", 1.0, None)], tmp_path / "slow.png")
    fast, slow = (read_image(tmp_path / f"{name}.png") for name in ("fast", "slow"))
    assert amount(fast, FASTER) > 1000 > 10 > amount(fast, SLOWER)
    assert amount(slow, SLOWER) > 1000 > 10 > amount(slow, FASTER)
    assert fast.shape[0] > slow.shape[0]  # a chart for each suite
