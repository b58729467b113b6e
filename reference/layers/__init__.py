"""Layers, which give ops their parameters: convolutions, residual blocks, the attention modules."""

from __future__ import annotations

from reference.layers.base import Layer, is_trained
from reference.layers.context import BatchStatistics, Context

__all__ = ["BatchStatistics", "Context", "Layer", "is_trained"]
