"""Backends, which execute the ops of :mod:`reference.ops`: ``get_backend("numpy")`` and others.

>>> ops = get_backend("numpy")
>>> ops.name
'numpy'
"""

from __future__ import annotations

from backends.errors import BackendError
from backends.registry import BACKENDS, get_backend

__all__ = ["BACKENDS", "BackendError", "get_backend"]
