"""What follows the backward pass: the updates of parameters and of running averages, in place.

They are no ops: :func:`sgd_update`, :func:`adamw_update` and :func:`move_towards` change their first arguments.
:func:`sum_of_squares` is the square of the gradient's norm, by which a step is clipped or left out.
"""

from __future__ import annotations

from reference.updates.adamw_update import adamw_update
from reference.updates.move_towards import move_towards
from reference.updates.sgd_update import sgd_update
from reference.updates.sum_of_squares import sum_of_squares

__all__ = ["adamw_update", "move_towards", "sgd_update", "sum_of_squares"]
