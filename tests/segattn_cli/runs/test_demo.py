"""The network that comes with segattn: it is what its recipe makes, and as good as its file says."""

from __future__ import annotations

import re

import pytest

from backends import get_backend
from segattn_cli.config import load_config
from segattn_cli.prediction.evaluation import evaluate, open_data_of
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import open_model
from segattn_cli.runs.demo import DEMO, SEED


@pytest.fixture(scope="module")
def model():
    return open_model(DEMO)


def test_it_is_small_and_holds_the_weights_alone(model):
    assert 1_000_000 < DEMO.stat().st_size < 1_500_000
    assert sum(array.size for array in model.params.values()) == 267_151


def test_it_is_what_make_demo_network_trains(model, repository):
    assert model.config == load_config("tiny-scenes", [f"training.seed={SEED}"])
    recipe = (repository / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"segattn train --preset tiny-scenes --seed {SEED} --out runs/demo-network\n", recipe)
    assert DEMO.relative_to(repository).as_posix() in recipe


def test_it_predicts_scenes_as_well_as_it_says(model):
    """Of each kind of asphalt, which the colour of the sky alone tells apart, too."""
    stated = model.metadata["validated"]
    assert stated["miou"] == pytest.approx(0.829, abs=0.001)
    predictor = Predictor.of(model, get_backend("numpy"), precision="float32")
    *_, result = evaluate(predictor, open_data_of(model, None, None, "test", None), limit=10)
    assert result.miou > stated["miou"] - 0.04
    for name in ("road", "plaza"):
        assert result.per_class_iou[name] > 0.8


def test_both_attentions_are_in_use(model):
    assert all(abs(model.params[f"head.{kind}.gate"]) > 0.5 for kind in ("position", "channel"))
