"""The learning rate of every step."""

from __future__ import annotations

import math

from segattn_cli.config import ScheduleSection


def learning_rate(schedule: ScheduleSection, largest: float, step: int, steps: int) -> float:
    """The learning rate of step ``step`` (from 0) of ``steps``, for a schedule whose largest rate is ``largest``.

    ``poly``  ``max(minimum, largest · (1 − step/steps)^power)`` (DeepLab; both papers' reimplementations)

    ``step``  ``largest · factor^m``, where m milestones lie at or before ``step`` (Attention to Scale)

    ``cosine``  ``minimum + (largest − minimum) · (1 + cos πp)/2``, where p is the fraction of the steps after the
    warm-up that are done (Loshchilov and Hutter, SGDR, ICLR 2017, equation 5, one period without restarts)

    ``one-cycle``  half a cosine up from ``largest/start_divisor`` during the fraction ``rise`` of the steps, and
    half a cosine down to ``largest/start_divisor/end_divisor`` at the last one (Smith and Topin, Super-Convergence,
    2018; as ``torch.optim.lr_scheduler.OneCycleLR``, with a constant momentum)

    All but the last are multiplied by ``(step + 1) / warmup_steps`` while that is below 1.

    >>> [learning_rate(ScheduleSection(power=1.0), 0.1, step, 4) for step in range(4)]
    [0.1, 0.07500000000000001, 0.05, 0.025]
    """
    if schedule.kind == "one-cycle":
        return _one_cycle(schedule, largest, step, steps)
    if schedule.kind == "poly":
        rate = max(schedule.minimum, largest * (1 - step / steps) ** schedule.power)
    elif schedule.kind == "cosine":
        done = max(0, step - schedule.warmup_steps) / max(1, steps - schedule.warmup_steps)
        rate = _cosine(largest, schedule.minimum, done)
    else:
        rate = largest * schedule.factor ** sum(step >= milestone for milestone in schedule.milestones)
    return rate * min(1.0, (step + 1) / max(1, schedule.warmup_steps))


def _one_cycle(schedule: ScheduleSection, largest: float, step: int, steps: int) -> float:
    start = largest / schedule.start_divisor
    top, last = schedule.rise * steps - 1, steps - 1  # the steps, not always whole, with the largest and the least
    if step <= top:
        return _cosine(start, largest, step / top if top else 1.0)
    return _cosine(largest, start / schedule.end_divisor, (step - top) / (last - top))


def _cosine(first: float, last: float, fraction: float) -> float:
    """From ``first`` to ``last`` along half a period of a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * fraction)) / 2
