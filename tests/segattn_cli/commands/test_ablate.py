"""``segattn ablate``: a small study from its file to its table, and what interrupts it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from segattn_cli.errors import ExitCode
from segattn_cli.runs.checkpoint import load_checkpoint
from segattn_cli.runs.history import read_history

STUDY = """# One scale and two, on small images.
preset = "tiny-scenes"
seeds = 2

[base]
data.scenes = {size = [24, 32], train = 8, val = 3}
data.workers = 1
network.head_channels = 8
network.scale_attention_channels = 8
network.scale_classifier = "none"
augmentation.crop = [24, 32]
training = {batch_size = 2, max_steps = 4, backend = "reference", log_every = 1}

[rows.one]
network.scales = [1.0]

[rows.two]
network.scales = [1.0, 0.5]
"""
RUNS = ["one/seed-0", "two/seed-0", "one/seed-1", "two/seed-1"]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("small.toml")
    path.write_text(STUDY)
    return path


def weights(run: Path) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in load_checkpoint(run / "last.safetensors").arrays.items()}


def test_a_study_from_its_file_to_its_table(cli: Any, study: Path) -> None:
    options = ["--json", "found.json", "--markdown", "found.md", "--csv", "found.csv", "--jobs", 2]
    done = cli("ablate", study, *options)
    assert done.code == ExitCode.OK
    out = Path("runs/small")
    assert sorted(path.parent.relative_to(out).as_posix() for path in out.rglob("result.json")) == sorted(RUNS)
    assert not list(out.rglob("*.log"))
    results = {run: json.loads((out / run / "result.json").read_text()) for run in RUNS}
    found = json.loads(Path("found.json").read_text())
    assert (found["study"], found["title"], found["seeds"]) == ("small", "One scale and two, on small images.", 2)
    one, two = found["rows"]
    for row in (one, two):
        mious = [results[f"{row['name']}/seed-{seed}"]["miou"] for seed in (0, 1)]
        assert list(row["runs"].values()) == pytest.approx(mious)
        assert row["miou"] == pytest.approx(sum(mious) / 2)
        assert row["sd"] == pytest.approx(abs(mious[0] - mious[1]) / 2**0.5)
        assert (row["planned"], row["failed"]) == (2, {})
        gates = [results[f"{row['name']}/seed-{seed}"]["gates"] for seed in (0, 1)]
        assert row["gates"] == {name: [each[name] for each in gates] for name in gates[0]}
    assert one["difference"] is None
    assert two["difference"]["value"] == pytest.approx(two["miou"] - one["miou"])
    assert (two["difference"]["over"], two["difference"]["paired"]) == ("seeds", True)
    assert one["scale_weights"] == {}
    assert sum(two["scale_weights"].values()) == pytest.approx(1)
    assert two["parameters"] > one["parameters"] > 0

    assert two["difference"]["verdict"] in done.out
    assert f"{one['miou']:.3f} ± {one['sd']:.3f}" in done.out
    assert "over the seeds (Student's t, paired by seed)" in done.out
    text = Path("found.md").read_text()
    assert text.startswith("| row | runs | mIoU | difference | 95 % interval |  | minutes | parameters | gates | ")
    assert f"| two | 2 | {two['miou']:.3f} ± {two['sd']:.3f} |" in text
    rows = list(csv.DictReader(Path("found.csv").read_text().splitlines()))
    assert [row["row"] for row in rows] == ["one", "two"]
    assert float(rows[1]["difference"]) == two["difference"]["value"]
    page = (out / "study.html").read_text()
    assert "network.scales=[1.0, 0.5]" in page
    assert two["difference"]["verdict"] in page

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert cli("ablate", study).code == ExitCode.OUTPUT
    again = cli("ablate", study, "--resume", "--json", "-")
    assert json.loads(again.out) == found
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before


def test_one_seed_is_compared_over_images(cli: Any, study: Path) -> None:
    found = json.loads(cli("ablate", study, "--seeds", 1, "--json", "-").out)
    assert found["rows"][1]["difference"]["over"] == "images"
    assert found["rows"][1]["sd"] is None


def test_a_run_that_fails_is_a_line_and_not_the_end(cli: Any, study: Path) -> None:
    study.write_text(STUDY.replace("[rows.two]", "[rows.wild]\noptimiser.learning_rate = 1e30\n\n[rows.two]"))
    done = cli("ablate", study, "--json", "found.json", "--seeds", 1, "--out", "runs")
    assert done.code == ExitCode.PARTIAL
    found = json.loads(Path("found.json").read_text())
    one, wild, two = found["rows"]
    assert (wild["miou"], wild["runs"], wild["difference"]) == (None, {}, None)
    assert "not finite" in wild["failed"]["wild/seed-0"]
    assert two["difference"]["value"] == pytest.approx(two["miou"] - one["miou"])
    assert f"segattn: wild/seed-0 failed: {wild['failed']['wild/seed-0']}" in done.err
    line = next(line for line in done.out.splitlines() if line.strip().startswith("wild/seed-0 "))
    assert line.split() == ["wild/seed-0", "failed"]
    assert "not finite" in Path("runs/wild/seed-0.log").read_text()


@pytest.mark.slow
def test_folds_are_one_run_on_all_images(cli: Any, study: Path) -> None:
    sample = ["--split", "train", "--count", 6, "--size", "24,32", "--out", "set"]
    assert cli("data", "sample", "scenes", *sample).code == ExitCode.OK
    scenes = "data.scenes = {size = [24, 32], train = 8, val = 3}"
    assert scenes in STUDY
    text = STUDY.replace("seeds = 2", "seeds = 1\nfolds = 2")
    study.write_text(text.replace(scenes, 'data.source = "set"\ndata.format = "auto"'))
    done = cli("ablate", study, "--json", "found.json")
    assert done.code == ExitCode.OK, done.err
    found = json.loads(Path("found.json").read_text())
    one, two = found["rows"]
    assert list(one["runs"]) == ["one/seed-0/fold-1", "one/seed-0/fold-2"]
    assert (one["planned"], found["folds"]) == (2, 2)
    assert one["sd"] is None
    assert two["difference"]["over"] == "images"


def started(study: Path) -> subprocess.Popen[bytes]:
    """The command in a process of its own, once its first run is training."""
    process = subprocess.Popen(
        [sys.executable, "-m", "segattn_cli.app", "ablate", study, "--set", "training.max_steps=100000"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )
    log = Path("runs/small/one/seed-0/events.jsonl")
    deadline = time.monotonic() + 240
    while not (log.exists() and b'"event":"step"' in log.read_bytes()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_stopped_or_killed_and_resumed_it_ends_in_the_same_bits(cli: Any, study: Path, how: int) -> None:
    # The rate does not depend on the number of steps, so that the rest can be a few.
    study.write_text(STUDY.partition("[rows.two]")[0].replace("[rows.one]", 'schedule.kind = "step"\n\n[rows.one]'))
    process = started(study)
    process.send_signal(how)
    said = process.communicate()[1].decode()
    run = Path("runs/small/one/seed-0")
    if how == signal.SIGINT:
        assert process.returncode == ExitCode.INTERRUPTED
        assert "Saved. Continue with: segattn ablate small.toml --out runs/small --resume" in said
        assert (run / "last.safetensors").exists()
    deadline = time.monotonic() + 240
    while read_history(run).is_locked:  # the run saves and ends by itself
        assert time.monotonic() < deadline
        time.sleep(0.02)
    stopped = read_history(run)
    assert stopped.state == "unfinished"
    steps = stopped.step + 2
    config = run / "config.toml"
    config.write_text(config.read_text().replace("max_steps = 100000", f"max_steps = {steps}"))
    options = ["--seeds", 1, "--set", f"training.max_steps={steps}"]
    assert cli("ablate", study, *options, "--resume").code == ExitCode.OK
    assert read_history(run).started[-1].step > 0
    assert cli("ablate", study, *options, "--out", "whole").code == ExitCode.OK
    assert weights(run) == weights(Path("whole/one/seed-0"))


def test_a_folder_of_another_study_is_refused(cli: Any, study: Path) -> None:
    study.write_text(STUDY.partition("[rows.two]")[0])
    assert cli("ablate", study, "--seeds", 1, "--out", "here").code == ExitCode.OK
    done = cli("ablate", study, "--seeds", 1, "--out", "here", "--resume", "--set", "training.max_steps=5")
    assert done.code == ExitCode.CONFIG
    assert "here/one/seed-0 was trained with training.max_steps = 4, which is 5 in the study now" in done.err


def test_the_plan_and_the_file(cli: Any, study: Path) -> None:
    done = cli("ablate", study, "--dry-run")
    assert done.out.splitlines() == ["small: 2 rows, 4 runs", *(f"runs/small/{run}  missing" for run in RUNS)]
    assert not Path("runs").exists()
    assert cli("ablate", study, "--show").out == STUDY
    listed = cli("ablate", "--list").out
    assert "danet-scenes" in listed
    assert "fusion by attention, maximum and mean, on CamVid." in listed


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        (None, ExitCode.CONFIG, "There is no file nowhere.toml, nor a study of that name"),
        ("rows = 3", ExitCode.CONFIG, "is no study (rows: Input should be a valid dictionary)"),
        ("seeds = 3", ExitCode.CONFIG, "is no study (rows: Field required): it needs tables [rows.NAME]."),
        ("seeds = 1001\n[rows.a]", ExitCode.CONFIG, "seeds: Input should be less than or equal to 1000"),
        ("row = 1\n[rows.a]", ExitCode.CONFIG, "row is no key of a study: nowhere.toml may have rows, preset"),
        ("[rows.a", ExitCode.CONFIG, "is not TOML"),
        ("[rows.a]\nnetwork.heads = 1", ExitCode.CONFIG, "The row a of the study nowhere: network.heads is no key"),
        ("[rows.a]\ntraining.seed = 1", ExitCode.CONFIG, "sets training.seed, which the study decides on"),
        ("base.data.folds = 2\n[rows.a]", ExitCode.CONFIG, "sets data.folds, which the study decides on"),
        ('[rows."a/b"]', ExitCode.CONFIG, "The row 'a/b' of the study nowhere must have a name of letters"),
        ('preset = "tiny"\n[rows.a]', ExitCode.CONFIG, "There is no preset 'tiny'"),
    ],
)
def test_what_is_no_study_is_one_sentence(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, code: int, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("nowhere.toml").write_text(text)
    done = cli("ablate", "nowhere.toml")
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err
    assert os.listdir(tmp_path) == ([] if text is None else ["nowhere.toml"])


def test_more_seeds_than_a_study_can_have(cli: Any) -> None:
    done = cli("ablate", "danet-scenes", "--dry-run", "--seeds", "1001")
    assert (done.code, "--seeds" in done.err) == (ExitCode.USAGE, True)


def test_a_study_has_to_be_named(cli: Any) -> None:
    done = cli("ablate")
    assert done.code == ExitCode.USAGE
    assert "Missing argument 'STUDY'" in done.err
