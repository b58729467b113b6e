"""Networks: a backbone, a head, and optionally several scales, run with the ops of any backend.

Read :mod:`~reference.networks.danet` for the dual attention head, :mod:`~reference.networks.attention_to_scale`
for the fusion of scales, and :mod:`~reference.networks.objective` for the losses.
"""

from __future__ import annotations

from reference.layers.base import is_trained
from reference.networks.build import build_network
from reference.networks.config import LARGEST_SCALE, Architecture, NetworkConfig
from reference.networks.objective import Loss, LossWeights, Objective
from reference.networks.outputs import Outputs
from reference.networks.single_scale import Network
from reference.networks.terms import LossTerms

__all__ = [
    "LARGEST_SCALE",
    "Architecture",
    "Loss",
    "LossTerms",
    "LossWeights",
    "Network",
    "NetworkConfig",
    "Objective",
    "Outputs",
    "build_network",
    "is_trained",
]
