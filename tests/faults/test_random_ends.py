"""Trainings that are killed or stopped at random moments."""

from __future__ import annotations

import random
import signal

import pytest

from .random_ends import VARIANTS, Training

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_end_is_that_of_an_unbroken_training(variant, processes, template, tmp_path):
    training = Training(variant, processes, template, tmp_path / "work", random.Random(variant))
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        problems = list(training.problems(number))
        assert not problems, "\n".join(problems)
