"""What a command that predicts has of a run."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import segattn_cli.runs
from segattn_cli.commands.shared.options import open_predictor
from segattn_cli.runs.demo import DEMO

OPTIONS = dict.fromkeys(("scales", "flip", "window", "stride", "size"))


@pytest.mark.parametrize("keeps_weights", [False, True])
def test_weights_are_held_once_where_nobody_else_needs_them(monkeypatch, keeps_weights: bool) -> None:
    opened = []
    original = segattn_cli.runs.open_model

    def open_model(path):
        model = original(path)
        opened.append(weakref.ref(model.params["backbone.conv1.weight"]))
        return model

    monkeypatch.setattr(segattn_cli.runs, "open_model", open_model)
    model, predictor = open_predictor(
        DEMO, backend="numpy", precision="float32", keeps_weights=keeps_weights, **OPTIONS
    )
    gc.collect()
    assert (opened[0]() is not None) == bool(model.params) == keeps_weights
    assert predictor.label(np.zeros((24, 32, 3), np.uint8)).shape == (24, 32)
