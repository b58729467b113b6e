"""Studies: those that come with segattn, and what a file may say."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from segattn_cli.config import differences
from segattn_cli.config.study import STUDIES, load_study, study_summary
from segattn_cli.errors import ConfigError


def test_studies_are_the_files_in_the_package() -> None:
    folder = files("segattn_cli.config").joinpath("studies")
    assert sorted(STUDIES) == sorted(each.name.removesuffix(".toml") for each in folder.iterdir())


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_rows_that_differ_in_what_they_say(name: str) -> None:
    study = load_study(name)
    assert study_summary(name).endswith(".")
    assert len(study.rows) >= 2
    configs = {row: study.config(row, 1) for row in study.rows}
    assert {config.training.seed for config in configs.values()} == {1}
    for row, config in configs.items():
        assert config.name == f"{name}-{row}"
    changed = {
        f"{table}.{key}" for tree in study.changes.values() for table, keys in tree.items() for key in keys
    }
    found = {each.key for each in differences(list(configs.values()))}
    assert found - {"name"} == changed


def test_what_is_set_where_wins(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'preset = "tiny-scenes"\nfolds = 4\n[base]\ndata.source = "photos"\ntraining.epochs = 3\n'
        '[rows.a]\n[rows.b]\nnetwork.head = "fcn"\nnetwork.weights = "start.pth"\n'
    )
    study = load_study(path, ["training.epochs=5", "network.head=channel"], seeds=2)
    a, b = study.config("a", 0, 1), study.config("b", 1, 4)
    assert (a.training.epochs, a.network.head, a.data.source) == (5, "channel", str(tmp_path / "photos"))
    assert (b.network.head, b.network.weights) == ("fcn", str(tmp_path / "start.pth"))
    assert (a.data.folds, a.data.fold, b.data.fold, b.training.seed) == (4, 1, 4, 1)
    assert (study.seeds, study.folds, study.title) == (2, 4, "")


def test_a_study_that_is_nested_too_deeply_or_has_no_end(tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text("x = " + "[" * 5000)
    with pytest.raises(ConfigError, match=r"deep\.toml is nested too deeply"):
        load_study(tmp_path / "deep.toml")
    with pytest.raises(ConfigError, match=r"/dev/zero is no configuration: it is longer than"):
        load_study("/dev/zero")
