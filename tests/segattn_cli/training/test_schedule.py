"""Learning rates, worked out by hand."""

from __future__ import annotations

import pytest

from segattn_cli.config import ScheduleSection
from segattn_cli.training.schedule import learning_rate


def rates(schedule, steps, start=1.0):
    return [learning_rate(schedule, start, step, steps) for step in range(steps)]


def test_poly():
    expected = [0.02 * (1 - step / 1080) ** 0.9 for step in (0, 1, 540, 1079)]
    schedule = ScheduleSection(power=0.9)
    found = [learning_rate(schedule, 0.02, step, 1080) for step in (0, 1, 540, 1079)]
    assert found == pytest.approx(expected)
    assert found[2] == pytest.approx(0.02 * 0.535887, rel=1e-5)  # 0.5^0.9


def test_poly_does_not_fall_below_its_minimum():
    assert rates(ScheduleSection(power=1.0, minimum=0.3), 4) == pytest.approx([1.0, 0.75, 0.5, 0.3])


def test_steps():
    schedule = ScheduleSection(kind="step", milestones=(2, 4), factor=0.1)
    assert rates(schedule, 6) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_warm_up_multiplies_either():
    assert rates(ScheduleSection(power=1.0, warmup_steps=4), 8) == pytest.approx(
        [0.25 * 1, 0.5 * 7 / 8, 0.75 * 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    )
    schedule = ScheduleSection(kind="step", milestones=(3,), warmup_steps=2)
    assert rates(schedule, 4) == pytest.approx([0.5, 1, 1, 0.1])
