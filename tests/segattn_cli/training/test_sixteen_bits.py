"""Training in 16 bits, on a backend that every machine has: the reference, which rounds its results."""

from __future__ import annotations

import numpy as np
import pytest

from backends import reference
from segattn_cli.runs.checkpoint import load_checkpoint
from segattn_cli.training import RunFinished, StepDone, train

from ..checking.test_half_precision import Rounding


class Half(Rounding):
    """With the ops that come after a backward pass, which take 16 bits as they are."""

    sum_of_squares = staticmethod(reference.sum_of_squares)
    sgd_update = staticmethod(reference.sgd_update)
    adamw_update = staticmethod(reference.adamw_update)
    move_towards = staticmethod(reference.move_towards)
    label_map = staticmethod(reference.label_map)
    constants = staticmethod(reference.constants)
    resize_bilinear_rows = staticmethod(reference.resize_bilinear_rows)


def steps_of(events):
    return [each for each in events if isinstance(each, StepDone)]


@pytest.mark.parametrize(("precision", "error"), [("float16", 1e-3), ("bfloat16", 1e-2)])
def test_training_learns_and_keeps_float32(tiny, tmp_path, monkeypatch, precision, error):
    single = steps_of(train(tiny("training.max_steps=1"), tmp_path / "single"))
    monkeypatch.setattr("segattn_cli.training.setup.get_backend", lambda *_: Half())
    events = list(train(tiny(f"training.precision={precision}", "training.ema=0.9"), tmp_path / "half"))
    half = steps_of(events)
    assert half[0].loss == pytest.approx(single[0].loss, abs=error)
    assert half[0].loss != single[0].loss  # it has been rounded
    assert half[-1].loss < 0.9 * half[0].loss
    if precision == "bfloat16":
        assert half[0].gradient_norm == pytest.approx(single[0].gradient_norm, rel=0.05)
        assert (half[-1].loss_scale, half[-1].skipped) == (None, 0)
    else:  # of 2^16 times this loss some gradients overflow, of half of that none
        assert np.isinf(half[0].gradient_norm)
        assert [(each.loss_scale, each.skipped) for each in half] == [(2.0**15, 1)] * 12
        assert all(np.isfinite(each.gradient_norm) for each in half[1:])
    arrays = load_checkpoint(tmp_path / "half" / "last.safetensors").arrays
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    assert isinstance(events[-1], RunFinished)
    assert events[-1].result["precision"] == precision
