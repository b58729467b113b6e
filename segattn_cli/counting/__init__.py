"""What a network costs before it runs: parameters, arithmetic and memory, counted by running it on shapes.

:mod:`~segattn_cli.counting.shapes` has the arrays without values, :mod:`~segattn_cli.counting.ops` the backend that
computes with them, :mod:`~segattn_cli.counting.cost` totals of inference and of a training step, and
:mod:`~segattn_cli.counting.layers` the same for each layer.
"""

from __future__ import annotations
