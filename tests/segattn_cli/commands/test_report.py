"""``segattn report``: what it prints where, how it exits, and what it leaves alone."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segattn_cli.errors import ExitCode

from ..runs.folders import TINY, WHOLE, run_folder


@pytest.fixture
def trained(tmp_path: Path, model_of: Callable[..., Path]) -> Path:
    """A whole run."""
    folder = run_folder(tmp_path / "trained", WHOLE, result={"steps": 4, "seconds": 1.0})
    model_of(folder / "best.safetensors", *TINY)
    return folder


def data_of(page: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(found[1])


def test_one_run_gets_its_page_into_its_folder(cli: Any, trained: Path) -> None:
    for _ in range(2):  # the second time it is replaced
        done = cli("report", f"{trained}/", "--backend", "reference")
        assert done.code == ExitCode.OK
        assert re.fullmatch(rf"{re.escape(str(trained))}/report\.html  0\.\d MB: open it in a browser\n", done.out)
        assert "3/3 images" in done.err
    (run,) = data_of(trained / "report.html")["runs"]
    assert (run["name"], run["state"]) == ("trained", "finished")
    assert run["validation"]["images"] == 3
    assert sum(map(sum, run["validation"]["confusion"])) == 3 * 24 * 32


def test_relative_paths_limits_and_numbers_of_pictures(
    cli: Any, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    done = cli("report", ".", "--out", "../page.html", "--limit", 2, "--pictures", 0, "--backend", "reference")
    assert done.code == ExitCode.OK
    (run,) = data_of(trained.parent / "page.html")["runs"]
    assert run["name"] == "trained"
    assert (run["validation"]["images"], run["validation"]["available"]) == (2, 3)
    assert run["validation"]["worst"] == run["validation"]["best"] == []


def test_several_runs_and_one_of_them_twice(cli: Any, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained.parent)
    run_folder(Path("b/trained"), WHOLE[:3], "training.seed=7")
    done = cli("report", "trained", "b/trained", "trained/", "--curves-only")
    assert (done.code, done.err) == (ExitCode.OK, "")
    assert done.out.startswith("report.html  2 runs, ")
    found = data_of(Path("report.html"))
    assert [run["name"] for run in found["runs"]] == [f"{trained.parent.name}/trained", "b/trained"]
    assert [run["state"] for run in found["runs"]] == ["finished", "unfinished"]
    assert found["differences"] == [{"key": "training.seed", "values": [0, 7]}]
    assert [run["missing"] for run in found["runs"]] == ["Left out by --curves-only."] * 2

    before = Path("report.html").read_bytes()
    again = cli("report", "trained", "b/trained", "--curves-only")
    assert again.code == ExitCode.OUTPUT
    assert "replace it with --force" in again.err
    assert Path("report.html").read_bytes() == before
    assert cli("report", "trained", "--curves-only", "--out", "report.html", "--force").code == ExitCode.OK
    assert len(data_of(Path("report.html"))["runs"]) == 1


def test_without_a_network_or_data_there_are_curves(cli: Any, trained: Path, model_of: Callable[..., Path]) -> None:
    young = run_folder(trained.parent / "young", WHOLE[:2])
    moved = run_folder(trained.parent / "moved", WHOLE)
    model_of(moved / "last.safetensors", 'data.source="/nowhere/camvid"')
    damaged = run_folder(trained.parent / "damaged", WHOLE)
    (damaged / "best.safetensors").write_bytes((trained / "best.safetensors").read_bytes()[:999])
    for run, sentence in (
        (young, "has no network yet: it has not written a checkpoint."),
        (moved, "The data set /nowhere/camvid does not exist: give a folder, or 'scenes'"),
        (damaged, "is truncated, damaged"),
    ):
        done = cli("report", run)
        assert done.code == ExitCode.OK
        assert sentence in done.err
        assert done.err.count("\n") == 1
        assert f"The report of {run} has its curves only." in done.err
        (found,) = data_of(run / "report.html")["runs"]
        assert sentence in found["missing"]
        assert found["validation"] is None


def test_data_that_moved_are_named(cli: Any, trained: Path, model_of: Callable[..., Path]) -> None:
    model_of(trained / "best.safetensors", *TINY, 'data.source="/nowhere/camvid"')
    done = cli("report", trained, "--data", "scenes", "--backend", "reference")
    assert done.code == ExitCode.OK
    (found,) = data_of(trained / "report.html")["runs"]
    assert found["validation"]["data"] == "scenes"


def test_the_last_checkpoint_of_a_run_that_has_no_best_yet(cli: Any, trained: Path) -> None:
    (trained / "best.safetensors").rename(trained / "last.safetensors")
    (trained / "result.json").unlink()
    assert cli("report", trained, "--backend", "reference").code == ExitCode.OK
    (found,) = data_of(trained / "report.html")["runs"]
    assert (found["checkpoint"], found["state"]) == ("last", "unfinished")
    assert found["validation"]["images"] == 3


@pytest.mark.parametrize("name", ["config.toml", "events.jsonl", "best.safetensors", "result.json"])
def test_a_run_is_not_replaced_by_its_page(cli: Any, trained: Path, name: str) -> None:
    before = (trained / name).read_bytes()
    done = cli("report", trained, "--curves-only", "--out", trained / name, "--force")
    assert done.code == ExitCode.USAGE
    assert done.err == f"segattn: {trained / name} is an input and would be overwritten: choose another path.\n"
    assert (trained / name).read_bytes() == before


def test_a_folder_that_may_not_be_written_to_is_named_before_the_pass(
    cli: Any, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode, **how: mode != os.W_OK)  # root may write anywhere
    done = cli("report", trained)
    assert done.code == ExitCode.OUTPUT
    assert done.err == f"segattn: {trained} may not be written to: choose another path for report.html.\n"


def test_a_half_written_line(cli: Any, trained: Path) -> None:
    with open(trained / "events.jsonl", "ab") as file:
        file.write(b'{"event": "step", "st')
    assert cli("report", trained, "--curves-only").code == ExitCode.OK
    assert data_of(trained / "report.html")["runs"][0]["unreadable"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere"], ExitCode.CHECKPOINT, "nowhere is no run: it has no config.toml"),
        (["trained/best.safetensors"], ExitCode.CHECKPOINT, "is no run"),
        (["trained", "nowhere"], ExitCode.CHECKPOINT, "nowhere is no run"),
        (["trained", "--out", "trained"], ExitCode.OUTPUT, "trained is a folder: name a file."),
        (["trained", "--out", "no/page.html"], ExitCode.OUTPUT, "There is no folder no to write page.html to."),
        (["trained", "--data", "nowhere"], ExitCode.DATA, "The data set nowhere does not exist"),
        (["trained", "--data", "trained", "--format", "camvit"], ExitCode.CONFIG, "did you mean camvid?"),
        (["trained", "--backend", "nump"], ExitCode.BACKEND, "did you mean numpy?"),
        (["trained", "--limit", "0"], ExitCode.USAGE, ""),
        ([], ExitCode.USAGE, ""),
    ],
)
def test_mistakes_end_in_one_sentence(
    cli: Any, trained: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(trained.parent)
    done = cli("report", *arguments)
    assert done.code == code
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert not (trained / "report.html").exists()


def test_a_folder_that_cannot_be_written(cli: Any, trained: Path) -> None:
    (trained / "report.html").mkdir()
    done = cli("report", trained, "--curves-only")
    assert done.code == ExitCode.OUTPUT
    assert done.err.count("\n") == 1
    shutil.rmtree(trained / "report.html")
