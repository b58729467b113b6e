"""Numba's decorator of functions that write instructions of LLVM; who calls one leaves out its first parameter."""

from __future__ import annotations

from typing import Any

import numba.extending

#: Numba's own annotation asks callers for that parameter, too.
intrinsic: Any = numba.extending.intrinsic
