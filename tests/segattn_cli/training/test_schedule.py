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


@pytest.mark.torch
@pytest.mark.parametrize("minimum", [0.0, 0.03])
@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_cosine_is_that_of_torch_after_the_warm_up(warmup, minimum):
    found = rates(ScheduleSection(kind="cosine", minimum=minimum, warmup_steps=warmup), 23, start=0.4)
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 23 - warmup, minimum)
    assert found[:warmup] == pytest.approx([0.4 * (step + 1) / warmup for step in range(warmup)])
    assert found[warmup:] == pytest.approx(list(torch_rates(optimiser, oracle, 23 - warmup)), rel=1e-9)


def test_cosine_is_half_way_down_in_the_middle():
    found = rates(ScheduleSection(kind="cosine", minimum=0.2), 8)
    assert (found[0], found[4]) == pytest.approx((1.0, 0.6))
    assert found == sorted(found, reverse=True)
    assert rates(ScheduleSection(kind="cosine", warmup_steps=9), 3) == pytest.approx([1 / 9, 2 / 9, 3 / 9])


@pytest.mark.torch
@pytest.mark.parametrize("steps", [7, 40])
@pytest.mark.parametrize(("rise", "start", "end"), [(0.3, 25.0, 1e4), (0.5, 4.0, 10.0), (0.15, 1.0, 1.0)])
def test_one_cycle_is_that_of_torch(rise, start, end, steps):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    oracle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 0.4, steps, pct_start=rise, div_factor=start, final_div_factor=end, cycle_momentum=False
    )
    schedule = ScheduleSection(kind="one-cycle", rise=rise, start_divisor=start, end_divisor=end, warmup_steps=3)
    assert rates(schedule, steps, start=0.4) == pytest.approx(list(torch_rates(optimiser, oracle, steps)), rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize("rise", [0.01, 0.1, 0.5, 0.99])
def test_one_cycle_of_few_steps_has_rates(rise, steps):
    found = rates(ScheduleSection(kind="one-cycle", rise=rise), steps)
    assert all(0 < rate <= 1 for rate in found)


def torch_rates(optimiser, scheduler, steps):
    """The learning rate of every step of a schedule of PyTorch's."""
    for _ in range(steps):
        yield optimiser.param_groups[0]["lr"]
        optimiser.step()
        if scheduler.last_epoch + 1 < steps:
            scheduler.step()


def test_warm_up_multiplies_either():
    assert rates(ScheduleSection(power=1.0, warmup_steps=4), 8) == pytest.approx(
        [0.25 * 1, 0.5 * 7 / 8, 0.75 * 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    )
    schedule = ScheduleSection(kind="step", milestones=(3,), warmup_steps=2)
    assert rates(schedule, 4) == pytest.approx([0.5, 1, 1, 0.1])
