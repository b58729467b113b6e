"""Several networks as one: the mean of what each predicts by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from backends import get_backend
from segattn_cli.errors import CheckpointError
from segattn_cli.prediction.averaged_predictor import AveragedPredictor
from segattn_cli.prediction.predictor import Predictor
from segattn_cli.runs import Model

IMAGE = np.random.default_rng(3).integers(0, 256, (24, 33, 3)).astype(np.uint8)


@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_the_mean_of_the_probabilities(backend: str, model_of: Callable[..., Model]) -> None:
    """Of networks with different heads and numbers of scales, and different settings."""
    ops = get_backend(backend)
    models = [model_of(head="fcn"), model_of(head="dual", scales=[1.0, 0.5]), model_of(head="position")]
    settings: list[dict[str, object]] = [{}, {"size": (16, 20)}, {"window": (16, 16), "flip": True}]
    predictors = [
        Predictor(model.network, model.params, ops, **each)
        for model, each in zip(models, settings, strict=True)
    ]
    averaged = AveragedPredictor(models, predictors)
    expected = np.zeros((24, 33, 5))
    for predictor in predictors:
        scores = predictor.scores(IMAGE).astype(np.float64)
        if predictor.window is None:  # raw scores
            scores = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        expected += scores / 3
    prediction = averaged.predict(IMAGE)
    assert prediction.are_probabilities
    assert prediction.scale_weights is None
    assert averaged.scores(IMAGE) == pytest.approx(expected, abs=1e-6)
    assert averaged.label(IMAGE).tolist() == expected.argmax(-1).tolist()
    assert averaged.confidence_of(prediction) == pytest.approx(expected.max(-1), abs=1e-6)
    assert not averaged.has_bands
    assert [each["size"] for each in averaged.settings["averaged"]] == [None, [16, 20], None]


def test_a_network_with_itself_is_itself(model_of: Callable[..., Model]) -> None:
    ops = get_backend("reference")
    model = model_of(head="fcn")
    predictor = Predictor(model.network, model.params, ops)
    averaged = AveragedPredictor([model, model], [predictor, predictor])
    assert averaged.label(IMAGE).tolist() == predictor.label(IMAGE).tolist()


def test_other_classes_are_refused(model_of: Callable[..., Model]) -> None:
    ops = get_backend("reference")
    models = [model_of(head="fcn"), model_of(head="fcn", classes=4)]
    predictors = [Predictor(model.network, model.params, ops) for model in models]
    with pytest.raises(CheckpointError, match="only networks with the same classes can be averaged"):
        AveragedPredictor(models, predictors)
