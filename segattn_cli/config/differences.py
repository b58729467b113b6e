"""The differences between configurations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

from segattn_cli.config.schema import Config, keys


class ConfigDifference(NamedTuple):
    """A key of the configuration and its value in each run; None where it is unset."""

    key: str
    values: tuple[Any, ...]


def differences(configs: Sequence[Config]) -> list[ConfigDifference]:
    """The keys whose values are not the same in all of ``configs``, in the order of docs/configuration.md.

    >>> from segattn_cli.config import load_config
    >>> one, other = load_config("tiny-scenes"), load_config("tiny-scenes", ["training.seed=1"])
    >>> differences([one, other])
    [ConfigDifference(key='training.seed', values=(0, 1))]
    """
    pairs = (ConfigDifference(key.path, tuple(_value(config, key.path) for config in configs)) for key in keys())
    return [each for each in pairs if any(value != each.values[0] for value in each.values)]


def _value(config: Config, key: str) -> Any:
    return reduce(getattr, key.split("."), config)
