"""What a network costs, before it runs: parameters, arithmetic and memory, counted by running it on shapes.

Memory is an estimate for the backend ``numba``, which ``auto`` takes on a CPU; docs/summary.md says how good it is.

:mod:`~segattn_cli.costs.shape_array` has the arrays without values, :mod:`~segattn_cli.costs.counting_ops` the
backend that computes with them, :mod:`~segattn_cli.costs.cost` totals of inference and of a training step, and
:mod:`~segattn_cli.costs.layers` the same for each layer.
"""

from __future__ import annotations
