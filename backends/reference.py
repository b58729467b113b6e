"""The reference itself as a backend: every op is the readable one, on NumPy arrays."""

from __future__ import annotations

from reference.ops import *  # noqa: F403
from reference.updates import *  # noqa: F403

name = "reference"
