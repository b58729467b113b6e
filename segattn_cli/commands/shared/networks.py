"""The network that an argument names: a preset, a run, a checkpoint or a configuration file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segattn_cli.commands.shared.terminal import complain
from segattn_cli.errors import DataError

if TYPE_CHECKING:
    from segattn_cli.config import Config


def described_network(source: str | None, settings: Sequence[str]) -> tuple[Config, int | None]:
    """The configuration that ``source`` names, and for a checkpoint the number of its classes."""
    from segattn_cli.config import PRESETS, config_from, load_config
    from segattn_cli.runs import CONFIG, checkpoint_of, describe_checkpoint
    from segattn_cli.runs.checkpoint import load_checkpoint

    path = Path(source or "")
    if source is None or source in PRESETS or not (path.is_dir() or path.suffix == ".safetensors"):
        return load_config(source, settings), None
    if path.is_dir() and (path / CONFIG).exists() and not any(path.glob("*.safetensors")):
        return load_config(path / CONFIG, settings), None  # a run that has saved nothing yet
    path = checkpoint_of(path)
    metadata = load_checkpoint(path).metadata
    config, classes, _ = describe_checkpoint(path, metadata)
    return config_from(metadata["config"], settings) if settings else config, len(classes)


def classes_of_data(config: Config, advice: str = "") -> int:
    """The number of classes of the data set, or of those of its kind where it is not here, which is reported."""
    from segattn_cli.data.formats.class_lists import likely_count
    from segattn_cli.training.setup import open_splits

    try:
        training, _ = open_splits(config)
    except DataError as error:
        count = likely_count(config.data.format)
        complain(f"{error} The cost is for {count} classes{advice}.")
        return count
    return len(training.classes)
