"""The trained network that is part of segattn, so that there is something to look at before anything is trained.

``make demo-network`` trains it, by the preset ``tiny-scenes`` with :data:`SEED`, and puts its best checkpoint here.
"""

from __future__ import annotations

from pathlib import Path

#: 267,151 numbers in float32.
DEMO = Path(__file__).with_name("demo.safetensors")
SEED = 2
