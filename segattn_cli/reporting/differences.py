"""The differences between the configurations of runs, and short names for runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from segattn_cli.config import Config, keys


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


def labels(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart: one name each, if that will do.

    >>> labels([Path("/a/runs/first/"), Path("/a/runs/second")])
    ['first', 'second']
    >>> labels([Path("/a/one/run"), Path("/a/two/run"), Path("/b/two/run")])
    ['a/one/run', 'a/two/run', 'b/two/run']
    """
    parts = [folder.resolve().parts for folder in folders]
    for count in range(1, max(map(len, parts))):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder.resolve()) for folder in folders]


def _value(config: Config, key: str) -> Any:
    return reduce(getattr, key.split("."), config)
