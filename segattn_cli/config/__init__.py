"""The configuration of a run: its keys, how files and presets are read, and what is said about mistakes."""

from segattn_cli.config.loading import DEFAULT_PRESET, PRESETS, config_from, described_config, load_config
from segattn_cli.config.schema import (
    Augmentation,
    Config,
    Data,
    Evaluation,
    Loss,
    Network,
    Optimiser,
    Schedule,
    Section,
    Training,
    keys,
)

__all__ = [
    "DEFAULT_PRESET",
    "PRESETS",
    "Augmentation",
    "Config",
    "Data",
    "Evaluation",
    "Loss",
    "Network",
    "Optimiser",
    "Schedule",
    "Section",
    "Training",
    "config_from",
    "described_config",
    "keys",
    "load_config",
]
