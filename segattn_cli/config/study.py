"""Studies: experiments that differ in a few keys, each trained with several seeds, as in the tables of papers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backends.errors import did_you_mean
from segattn_cli.config.loading import (
    config_from,
    merged,
    parse_override,
    parse_toml,
    preset_tree,
    read_toml,
    with_absolute_paths,
)
from segattn_cli.config.schema import Config
from segattn_cli.errors import ConfigError

STUDIES = (
    "danet-scenes", "channel-form-scenes", "scales-scenes", "fusion-scenes", "supervision-scenes",
    "scale-classifier-scenes",
    "recipe-camvid", "danet-camvid", "channel-form-camvid", "scales-camvid", "fusion-camvid", "supervision-camvid",
    "scale-classifier-camvid",
    "danet-cityscapes", "channel-form-cityscapes",
    "scales-voc", "fusion-voc", "supervision-voc", "scale-classifier-voc",
)  # fmt: skip
#: What a row may be called: its runs are in a folder of that name.
ROW_NAME = re.compile(r"[\w+-][\w.+-]*")
#: The largest number of seeds, and of folds.
MOST = 1000
#: The keys that a study sets in each run.
OWN_KEYS = ("name", "training.seed", "data.folds", "data.fold")


class StudyFile(BaseModel):
    """The format of the file of a study.

    Args:
        preset: the preset from which all rows start; the defaults of the configuration without one.
        base: further tables and keys of all rows.
        rows: what each row changes. The others are compared with the first one.
        seeds: the number of seeds, from 0, with which each row is trained.
        folds: the number of folds, each of which is held out once with each seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rows: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    preset: str | None = None
    base: dict[str, Any] = Field(default_factory=dict)
    seeds: Annotated[int, Field(ge=1, le=MOST)] = 3
    folds: Annotated[int, Field(ge=2, le=MOST)] | None = None


@dataclass(frozen=True)
class Study:
    """Rows of a table, each a configuration that is trained with several seeds."""

    name: str
    title: str
    text: str  # of the file
    rows: dict[str, dict[str, Any]]  # the whole tree of each row, by table and key
    changes: dict[str, dict[str, Any]]  # the part of it that the row sets itself
    seeds: int
    folds: int | None

    def config(self, row: str, seed: int, fold: int | None = None) -> Config:
        """The configuration of one run. Raises :class:`ConfigError`, which names the row."""
        own: dict[str, Any] = {"name": f"{self.name}-{row}", "training": {"seed": seed}}
        if fold is not None:
            own["data"] = {"folds": self.folds, "fold": fold}
        try:
            return config_from(merged(self.rows[row], own))
        except ConfigError as error:
            raise ConfigError(f"The row {row} of the study {self.name}: {error}") from None


def load_study(source: str | Path, overrides: Iterable[str] = (), *, seeds: int | None = None) -> Study:
    """Read the study in the file ``source``, or the one of that name in :data:`STUDIES`.

    The ``overrides`` like ``"a.b=value"`` change all rows, except for the keys that a row sets itself. Every
    configuration is checked. Raises :class:`ConfigError`.

    >>> study = load_study("danet-scenes", ["training.epochs=3"])
    >>> list(study.rows), study.config("dual", seed=2).training.epochs
    (['fcn', 'position', 'channel', 'dual', 'dual-one-loss'], 3)
    """
    is_shipped = str(source) in STUDIES
    text = study_text(str(source)) if is_shipped else _read(Path(source))
    name = str(source) if is_shipped else Path(source).stem
    folder = Path.cwd() if is_shipped else Path(source).absolute().parent
    file = _parsed(text, name if is_shipped else str(source))
    base = merged(preset_tree(file.preset) if file.preset else {}, with_absolute_paths(file.base, folder))
    for override in overrides:
        base = merged(base, parse_override(override))
    base = with_absolute_paths(base, Path.cwd())
    for row, changes in file.rows.items():
        if not ROW_NAME.fullmatch(row):
            raise ConfigError(
                f"The row {row!r} of the study {name} must have a name of letters, digits, dots, + and -, since "
                "its runs are in a folder of that name."
            )
        _require_free(row, name, merged(file.base, changes))
    trees = {row: merged(base, with_absolute_paths(changes, folder)) for row, changes in file.rows.items()}
    study = Study(name, _title(text), text, trees, file.rows, seeds or file.seeds, file.folds)
    for row in study.rows:
        study.config(row, 0, file.folds and 1)
    return study


def study_text(name: str) -> str:
    """The file of a study in :data:`STUDIES`; its first line is a comment that says what it is."""
    return files("segattn_cli.config").joinpath("studies", f"{name}.toml").read_text(encoding="utf-8")


def study_summary(name: str) -> str:
    """
    >>> study_summary("fusion-scenes")
    'Attention to Scale, table 1: fusion by attention, maximum and mean, on drawn images.'
    """
    return _title(study_text(name))


def _title(text: str) -> str:
    first = text.lstrip("\ufeff").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _read(path: Path) -> str:
    try:
        return read_toml(path)
    except (FileNotFoundError, NotADirectoryError):
        hint = did_you_mean(str(path), STUDIES)
        raise ConfigError(
            f"There is no file {path}, nor a study of that name{hint}: segattn ablate --list lists them."
        ) from None


def _parsed(text: str, name: str) -> StudyFile:
    try:
        return StudyFile.model_validate(parse_toml(text, name))
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            known = ", ".join(StudyFile.model_fields)
            raise ConfigError(f"{key} is no key of a study: {name} may have {known}.") from None
        raise ConfigError(f"{name} is no study ({key}: {problem['msg']}): it needs tables [rows.NAME].") from None


def _require_free(row: str, name: str, tree: Mapping[str, Any]) -> None:
    """Raise :class:`ConfigError` where a row sets what the study itself sets."""
    for key in OWN_KEYS:
        table, _, last = key.rpartition(".")
        section = tree.get(table, {}) if table else tree
        if isinstance(section, Mapping) and last in section:
            raise ConfigError(
                f"The row {row} of the study {name} sets {key}, which the study decides on: use seeds and folds at "
                "the top of the file."
            )
