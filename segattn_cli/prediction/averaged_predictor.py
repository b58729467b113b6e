"""Several networks as one: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backends.contract import Array
from segattn_cli.errors import CheckpointError
from segattn_cli.prediction.predictor import Prediction, Predictor
from segattn_cli.runs import Model


class AveragedPredictor(Predictor):
    """Predicts by the mean of the probabilities of several predictors, each with a network and settings of its own.

    With ``p_m`` the probabilities of predictor ``m`` at the size of the image, those of the average are
    ``Σ_m p_m / M``. Networks that were trained with other seeds make different mistakes, which the mean evens out
    (Lakshminarayanan, Pritzel and Blundell, Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles, NeurIPS 2017).

    Args:
        models: the trained networks.
        predictors: one for each model, all of the same backend.

    Raises:
        CheckpointError: where the models have different classes.
    """

    def __init__(self, models: Sequence[Model], predictors: Sequence[Predictor]) -> None:
        for model in models[1:]:
            if model.classes != models[0].classes:
                raise CheckpointError(
                    f"{model.path} was trained on other classes ({', '.join(model.classes)}) than {models[0].path} "
                    f"({', '.join(models[0].classes)}): only networks with the same classes can be averaged."
                )
        self.paths = tuple(str(model.path) for model in models)
        self.predictors = tuple(predictors)
        self.ops = predictors[0].ops
        self.precision = predictors[0].precision
        self.batch = predictors[0].batch
        self.is_on_cpu = predictors[0].is_on_cpu

    @property
    def settings(self) -> dict[str, Any]:
        """The checkpoint and the settings of each predictor."""
        return {
            "averaged": [
                {"checkpoint": path, **predictor.settings}
                for path, predictor in zip(self.paths, self.predictors, strict=True)
            ]
        }

    @property
    def has_bands(self) -> bool:
        """Never: the labels follow from the probabilities of all networks at all pixels."""
        return False

    @property
    def images_at_once(self) -> int:
        """That of the predictor that takes most."""
        return max(predictor.images_at_once for predictor in self.predictors)

    @property
    def is_short_of_memory(self) -> bool:
        """Whether that is so of any of the predictors."""
        return any(predictor.is_short_of_memory for predictor in self.predictors)

    def run(self, images: Sequence[np.ndarray]) -> list[Any]:
        """For each image what each of the networks gives."""
        return list(zip(*(predictor.run(images) for predictor in self.predictors), strict=True))

    def predict(self, image: np.ndarray, output: Any = None) -> Prediction:
        """The mean probabilities at the size of ``image`` (H, W, 3) uint8, without scale weights."""
        total: Array = 0
        for predictor, own in zip(self.predictors, output or [None] * len(self.predictors), strict=True):
            total = total + predictor.probabilities_of(predictor.predict(image, own))  # (H, W, K)
        return Prediction(total / len(self.predictors), None, are_probabilities=True)
