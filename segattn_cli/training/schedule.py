"""The learning rate of every step."""

from __future__ import annotations

from segattn_cli.config import ScheduleSection


def learning_rate(schedule: ScheduleSection, start: float, step: int, steps: int) -> float:
    """The learning rate of step ``step`` (from 0) of ``steps``, for a schedule that begins at ``start``.

    ``poly``  ``max(minimum, start · (1 − step/steps)^power)`` (DeepLab; both papers' reimplementations)

    ``step``  ``start · factor^m``, where m milestones lie at or before ``step`` (Attention to Scale)

    Either is multiplied by ``(step + 1) / warmup_steps`` while that is below 1.

    >>> [learning_rate(ScheduleSection(power=1.0), 0.1, step, 4) for step in range(4)]
    [0.1, 0.07500000000000001, 0.05, 0.025]
    """
    if schedule.kind == "poly":
        rate = max(schedule.minimum, start * (1 - step / steps) ** schedule.power)
    else:
        rate = start * schedule.factor ** sum(step >= milestone for milestone in schedule.milestones)
    return rate * min(1.0, (step + 1) / max(1, schedule.warmup_steps))
