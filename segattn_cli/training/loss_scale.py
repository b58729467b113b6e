"""Which steps are accepted: those that are finite; and the dynamic scale of the loss in float16.

Neither class reads a value, so nothing waits for a device; both take arrays of any backend.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backends.contract import Ops

Array = Any

#: Where the scale starts, how many good steps in a row double it, and where it stays at the latest.
START, GOOD_STEPS, MOST = 2.0**16, 2000, 2.0**24


class Unscaled:
    """For precisions with the range of float32: the scale is 1; no step is accepted after one that is not finite.

    So the weights stay as they were before that step, however late its record is read.
    """

    scale = 1.0

    def __init__(self) -> None:
        self._sound: Array | bool = True

    def accept(self, finite: Array) -> Array:
        """Whether a step with ``finite`` loss and gradients, a bool ``()``, is accepted."""
        self._sound = self._sound & finite
        return self._sound

    def state(self) -> dict[str, Array]:
        """There is nothing to save."""
        return {}


class LossScale:
    """Dynamic loss scaling (Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.2)::

        scale ← scale/2    where a gradient is not finite; the step is skipped
        scale ← 2·scale    after GOOD_STEPS others in a row, up to MOST

    float16 holds nothing below 6·10⁻⁸, and many gradients are smaller: backward starts from ``scale``, a power of
    two, which is divided out again in float32. Below 1 no scale would help, and no step is accepted.

    >>> import reference.ops
    >>> scaler = LossScale(reference.ops, scale=1024.0, good_steps=1999)
    >>> [(bool(scaler.accept(np.True_ & finite)), float(scaler.scale)) for finite in (True, False, True)]
    [(True, 2048.0), (False, 1024.0), (True, 1024.0)]
    >>> {name: float(value) for name, value in scaler.state().items()}
    {'scale': 1024.0, 'good_steps': 1.0, 'skipped': 1.0}
    """

    def __init__(self, ops: Ops, scale: float = START, good_steps: float = 0, skipped: float = 0) -> None:
        self.scale, self.good_steps, self.skipped = (
            ops.asarray(np.array(value, np.float32)) for value in (scale, good_steps, skipped)
        )

    def accept(self, finite: Array) -> Array:
        """Whether a step with ``finite`` loss and gradients, a bool ``()``, is accepted; sets the next scale."""
        accepted = finite & (self.scale >= 1)
        good = (self.good_steps + 1) * accepted
        grows = (good >= GOOD_STEPS) & (self.scale < MOST)
        # New arrays, for the old ones may not have been read yet.
        self.scale = (self.scale * (0.5 + 0.5 * finite + grows)).astype(np.float32)
        self.good_steps = good * ~grows
        self.skipped = self.skipped + ~finite
        return accepted

    def state(self) -> dict[str, Array]:
        """What a checkpoint saves, as arrays ``()`` of the backend: the arguments of a scaler that goes on."""
        return {"scale": self.scale, "good_steps": self.good_steps, "skipped": self.skipped}
