"""The backend computes what the reference computes, without a GPU: its own tests pass on the stand-in."""

from __future__ import annotations

import pytest

from .extra import needs_extra
from .launches import WORKERS, run_on_stand_in

pytestmark = [pytest.mark.cuda_cpu, needs_extra]


@pytest.mark.parametrize("worker", range(WORKERS))
def test_agrees_with_the_reference(worker):
    run = run_on_stand_in()[worker]
    assert run.code == 0, run.output
