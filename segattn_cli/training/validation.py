"""When a training is validated: after epochs, at its end, and once early for a first impression."""

from __future__ import annotations

import math
import time

from segattn_cli.training.setup import TrainingRun

#: Fewer steps change too little to be worth a validation, where the configuration does not ask for one.
STEPS_BETWEEN_VALIDATIONS = 20
#: How many images the preview predicts at most.
PREVIEWED = 20


def validation_is_due(run: TrainingRun) -> bool:
    """Whether the step that is done is followed by a validation that has not been made."""
    progress = run.state.progress
    regular = progress.step > 0 and progress.step % steps_between_validations(run) == 0
    return progress.step != progress.validated_at and (progress.step == run.steps or regular)


def preview_is_due(run: TrainingRun) -> bool:
    """Whether a run without any validation has taken ``evaluation.preview_after`` seconds.

    A preview depends on the clock, so nothing depends on it: neither the best checkpoint nor the patience. A
    checkpoint records that it was made.
    """
    progress, after = run.state.progress, run.config.evaluation.preview_after
    is_first = progress.validated_at < 0 and progress.previewed_at < 0
    return is_first and 0 < after <= time.perf_counter() - run.started


def validations_left(run: TrainingRun) -> int:
    """How many validations come after the step that is done, if nothing stops the run."""
    step, between = run.state.progress.step, steps_between_validations(run)
    return 0 if step == run.steps else -(-run.steps // between) - step // between


def steps_between_validations(run: TrainingRun) -> int:
    """Those of ``evaluation.every`` epochs, by default of as many as have :data:`STEPS_BETWEEN_VALIDATIONS`."""
    epochs = run.config.evaluation.every or math.ceil(STEPS_BETWEEN_VALIDATIONS / run.steps_per_epoch)
    return epochs * run.steps_per_epoch
