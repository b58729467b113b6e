"""The report that a training leaves: what is in it, and that nothing in its way costs the run."""

from __future__ import annotations

import json
import re

import pytest

import reference.ops as ops
from segattn_cli.errors import DataError, OutputError
from segattn_cli.training import RunFinished, Validated, Validating, report, train
from segattn_cli.training.setup import open_splits


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A whole run, and its events."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    return out, list(train(tiny("training.epochs=1"), out))


def page_of(out):
    page = (out / "report.html").read_text(encoding="utf-8")
    (run,) = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])["runs"]
    return run


def write(out, tiny, **how):
    (out / "report.html").unlink(missing_ok=True)
    _, validation = open_splits(tiny())
    return list(report.write_page(out, validation, ops, **how))


def test_it_says_what_the_result_says(finished):
    out, events = finished
    run, result = page_of(out), json.loads((out / "result.json").read_text())
    assert run["state"] == "finished"
    assert run["validation"]["miou"] == result["miou"]
    assert run["validation"]["images"] == 2
    assert len(run["steps"]["epoch"]) == 6
    assert run["seconds"] == result["seconds"]
    last = max(n for n, event in enumerate(events) if isinstance(event, Validated))
    assert [event.done for event in events[last:] if isinstance(event, Validating)] == [1, 2]
    assert isinstance(events[-1], RunFinished)


def test_it_looks_at_so_many_pictures_at_most(finished, tiny, monkeypatch):
    out, _ = finished
    monkeypatch.setattr(report, "MOST_LOOKED_AT", 1)
    assert len(write(out, tiny)) == 1
    validation = page_of(out)["validation"]
    assert (validation["images"], validation["available"]) == (1, 2)


@pytest.mark.parametrize("error", [DataError("a.png is damaged."), MemoryError("1 TiB")])
def test_what_comes_in_its_way_is_said_in_it(finished, tiny, monkeypatch, error):
    def look(*_, **__):
        raise error
        yield

    out, _ = finished
    monkeypatch.setattr(report, "look", look)
    assert write(out, tiny) == []
    run = page_of(out)
    assert run["validation"] is None
    assert run["missing"] == f"{error} For the rest: segattn report {out}"
    assert run["steps"]["loss"]
    assert run["palette"]


def test_a_stop_leaves_the_curves(finished, tiny):
    out, _ = finished
    assert len(write(out, tiny, should_stop=lambda: True)) == 1
    assert page_of(out)["missing"] == f"Stopped before the end. For the rest: segattn report {out}"


def test_where_it_cannot_be_written_the_result_is_there(tiny, tmp_path):
    out = tmp_path / "run"
    list(train(tiny("training.max_steps=1"), out))
    (out / "result.json").unlink()
    (out / "report.html").unlink()
    (out / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html cannot be written"):
        list(train(tiny("training.max_steps=1"), out, resume=True))
    assert json.loads((out / "result.json").read_text())["steps"] == 1
