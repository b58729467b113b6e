from __future__ import annotations

import json
import tomllib
from typing import Any

from segattn_cli.config import PRESETS, load_config
from segattn_cli.errors import ExitCode


def test_presets_are_listed_with_a_line_each(cli: Any) -> None:
    done = cli("presets")
    assert done.code == 0
    names, summaries = zip(*(line.split(None, 1) for line in done.out.splitlines()), strict=True)
    assert names == PRESETS
    assert len(set(summaries)) == len(PRESETS)
    assert all(line.strip().endswith(".") for line in summaries)
    assert [each["name"] for each in json.loads(cli("presets", "--json").out)] == list(PRESETS)


def test_the_file_of_a_preset_is_a_configuration(cli: Any, tmp_path: Any) -> None:
    for name in PRESETS:
        shown = cli("presets", "show", name)
        assert shown.code == 0
        file = tmp_path / f"{name}.toml"
        file.write_text(shown.out, encoding="utf-8")
        assert load_config(file).network == load_config(name).network
        assert json.loads(cli("presets", "show", name, "--json").out) == {"name": name, **tomllib.loads(shown.out)}


def test_a_preset_that_does_not_exist(cli: Any) -> None:
    done = cli("presets", "show", "tiny-scene")
    assert (done.code, done.out) == (ExitCode.CONFIG, "")
    assert "did you mean tiny-scenes?" in done.err
