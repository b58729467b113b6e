"""The configuration of a run: its keys, how files and presets are read, and what is said about mistakes."""

from segattn_cli.config.loading import (
    DEFAULT_PRESET,
    PRESETS,
    config_from,
    described_config,
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
    "described_config",
    "keys",
    "load_config",
    "preset_summary",
    "preset_text",
    "preset_tree",
]
