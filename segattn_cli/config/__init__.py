"""The configuration of a run: its keys, reading files and presets, and messages about errors."""

from segattn_cli.config.differences import ConfigDifference, differences
from segattn_cli.config.loading import (
    DEFAULT_PRESET,
    PRESETS,
    config_from,
    load_config,
    preset_summary,
    preset_text,
    preset_tree,
)
from segattn_cli.config.schema import (
    Config,
    DataSection,
    EvaluationSection,
    Key,
    LossSection,
    NetworkSection,
    OptimiserSection,
    ScenesSection,
    ScheduleSection,
    TrainingSection,
    keys,
)

__all__ = [
    "DEFAULT_PRESET",
    "PRESETS",
    "Config",
    "ConfigDifference",
    "DataSection",
    "EvaluationSection",
    "Key",
    "LossSection",
    "NetworkSection",
    "OptimiserSection",
    "ScenesSection",
    "ScheduleSection",
    "TrainingSection",
    "config_from",
    "differences",
    "keys",
    "load_config",
    "preset_summary",
    "preset_text",
    "preset_tree",
]
