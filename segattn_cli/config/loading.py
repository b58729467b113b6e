"""Reading configurations: presets, files, and the overrides of ``--set``."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from backends.errors import did_you_mean
from segattn_cli.config.messages import sentence
from segattn_cli.config.schema import Config, keys
from segattn_cli.errors import ConfigError

PRESETS = (
    "tiny-scenes",
    "fcn-resnet18-camvid",
    "danet-resnet18-camvid",
    "danet-resnet18-camvid-gpu",
    "dual-scale-resnet18-camvid",
    "danet-resnet50-cityscapes",
    "danet-resnet101-cityscapes",
    "attention-to-scale-vgg16-voc",
)
DEFAULT_PRESET = "tiny-scenes"
#: Bytes of the longest file.
LONGEST = 1_000_000


def load_config(
    source: str | Path | None = None, overrides: Iterable[str] = (), *, preset: str | None = None
) -> Config:
    """Read a configuration: the file or the preset ``source``, changed by ``overrides`` like ``"a.b=value"``.

    With ``preset``, the file ``source`` starts from that preset in place of the one that it names itself. Without
    a ``source``, ``preset`` or :data:`DEFAULT_PRESET` is read. Raises :class:`ConfigError`.

    >>> config = load_config("tiny-scenes", ["training.epochs=3", "network.head=fcn"])
    >>> config.training.epochs, config.network.head
    (3, 'fcn')
    >>> load_config("tiny-scenes", ["training.epochs=0"])
    Traceback (most recent call last):
    segattn_cli.errors.ConfigError: training.epochs must be greater than or equal to 1, got 0.
    """
    if source is None or str(source) in PRESETS:
        tree = preset_tree(preset or str(source or DEFAULT_PRESET))
    else:
        tree = _file(Path(source), preset)
    try:
        for override in overrides:
            tree = merged(tree, parse_override(override))
    except RecursionError:
        raise ConfigError("The keys of --set are nested too deeply.") from None
    return config_from(with_absolute_paths(tree, Path.cwd()))


def config_from(tree: Mapping[str, Any], overrides: Iterable[str] = ()) -> Config:
    """The configuration in the dicts ``tree``, changed by ``overrides``; missing keys have their defaults.

    Raises :class:`ConfigError`.
    """
    try:  # as JSON: Pydantic then accepts a list for a tuple, but not "3" for a number
        for override in overrides:
            tree = merged(tree, parse_override(override))
        return Config.model_validate_json(json.dumps(_without_unset(tree), default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(sentence(error)) from None
    except RecursionError:
        raise ConfigError("The configuration is nested too deeply.") from None


def preset_text(name: str) -> str:
    """The file of a preset; its first line is a comment that says what it is. Raises :class:`ConfigError`."""
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS)
        raise ConfigError(f"There is no preset {name!r}{hint}: choose from {', '.join(PRESETS)}.")
    return files("segattn_cli.config").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")


def preset_summary(name: str) -> str:
    """
    >>> preset_summary("danet-resnet18-camvid")
    'DANet, ResNet-18 with a decoder on CamVid, from random weights.'
    """
    return preset_text(name).partition("\n")[0].removeprefix("# ")


def preset_tree(name: str) -> dict[str, Any]:
    """What a preset sets, by table and key."""
    return {"name": name, **tomllib.loads(preset_text(name))}


def _file(path: Path, preset: str | None) -> dict[str, Any]:
    try:
        tree = parse_toml(read_toml(path), path)
    except (FileNotFoundError, NotADirectoryError):
        hint = did_you_mean(str(path), PRESETS)
        raise ConfigError(f"There is no configuration file {path}, nor a preset of that name{hint}.") from None
    named = tree.pop("preset", None)
    base = preset_tree(preset or str(named)) if preset or named else {}
    return merged(base, {"name": path.stem, **with_absolute_paths(tree, path.absolute().parent)})


def read_toml(path: Path) -> str:
    """The text of a TOML file.

    Raises:
        FileNotFoundError, NotADirectoryError: where there is none.
        ConfigError: for a file that cannot be read, is too long, or is no text in UTF-8.
    """
    try:
        with open(path, "rb", opener=_opened_at_once) as file:
            os.set_blocking(file.fileno(), True)
            data = file.read(LONGEST + 1)  # of a device there is no end
        if len(data) > LONGEST:
            raise ConfigError(f"{path} is no configuration: it is longer than {LONGEST:,} bytes.")
        if not data and path.is_fifo():
            raise ConfigError(f"{path} is a pipe, and nobody writes a configuration to it.")
        return data.decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None


def _opened_at_once(path: str, flags: int) -> int:
    """A descriptor of ``path``. A pipe is not waited for until somebody opens it to write."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parse_toml(text: str, name: Path | str) -> dict[str, Any]:
    """The tables and keys in a ``text``, which errors call ``name``. Raises :class:`ConfigError`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not TOML: {error}.") from None
    except RecursionError:
        raise ConfigError(f"{name} is nested too deeply.") from None


def with_absolute_paths(tree: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``tree`` with the paths in it, relative to ``folder``, made absolute: a run may be resumed from elsewhere."""
    result = dict(tree)
    for table, key in (("data", "source"), ("network", "weights")):
        section = result.get(table)
        if not isinstance(section, dict):
            continue
        path = section.get(key)
        if isinstance(path, str) and path not in ("scenes", "none"):
            result[table] = {**section, key: str(folder / os.path.expanduser(path))}
    return result


def parse_override(text: str) -> dict[str, Any]:
    """``"a.b=1"`` as ``{"a": {"b": 1}}``; a value that is not TOML is a string."""
    key, equals, value = text.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise ConfigError(f"--set wants key=value, such as training.epochs=3; got {text!r}.")
    try:
        tree = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        tree = value.strip()
    except RecursionError:
        raise ConfigError(f"--set {key.strip()[:80]} has a value that is nested too deeply.") from None
    for part in reversed(key.strip().split(".")):
        tree = {part: tree}
    return tree


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both trees in one; where both have a key, that of ``above`` is taken."""
    both = dict(below)
    for key, value in above.items():
        known = both.get(key)
        both[key] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return both


def _without_unset(tree: Mapping[str, Any], table: str = "") -> dict[str, Any]:
    """Leave out keys with the value ``"none"``, which unsets a preset's key: TOML has no null."""
    optional = {key.path for key in keys() if _may_be_none(key.type)}
    return {
        key: _without_unset(value, f"{table}{key}.") if isinstance(value, dict) else value
        for key, value in tree.items()
        if not (value == "none" and f"{table}{key}" in optional)
    }


def _may_be_none(type_: Any) -> bool:
    """Whether None is among the values of a type, also of ``Annotated[float | None, …]``."""
    parts = get_args(type_)
    return type(None) in (get_args(parts[0]) if hasattr(type_, "__metadata__") else parts)
