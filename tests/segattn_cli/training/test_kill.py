"""A run that is killed without warning, wherever it is, goes on as if nothing had been."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pytest

from segattn_cli.runs.checkpoint import load_checkpoint
from segattn_cli.training import train

RUN = """
import sys
from segattn_cli.config import load_config
from segattn_cli.training import StepDone, train
out, read_every, *overrides = sys.argv[1:]
for event in train(load_config("tiny-scenes", overrides), out, read_every=int(read_every)):
    print(event.step if isinstance(event, StepDone) else type(event).__name__, flush=True)
"""
VARIANTS = {
    "plain": ("training.checkpoint_every=4",),
    "everything": (
        "training.checkpoint_every=1", "training.ema=0.99", "optimiser.accumulate=2", "training.epochs=4",
    ),
    "numpy": ("training.checkpoint_every=3", "training.backend=numpy", "optimiser.clip_norm=1.0"),
    "adamw": ("training.checkpoint_every=3", "optimiser.kind=adamw", "optimiser.learning_rate=1e-3"),
    "read together": ("training.checkpoint_every=4", "training.ema=0.99"),
}  # fmt: skip


#: One of them is in every run of the tests, the others in `make test-all`.
QUICK = "numpy"


@pytest.mark.parametrize(
    "variant", [pytest.param(each, marks=[] if each == QUICK else pytest.mark.slow) for each in VARIANTS]
)
def test_killed_and_resumed_ends_in_the_same_bits(variant, tiny, tiny_overrides, tmp_path, read_events):
    overrides, read_every = VARIANTS[variant], 3 if variant == "read together" else 1
    config = tiny(*overrides)
    list(train(config, tmp_path / "whole"))
    chance = random.Random(variant)
    for kill in range(2):
        run, last_seen = tmp_path / f"killed {kill}", chance.randint(1, 10)
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(run), str(read_every), *tiny_overrides, *overrides],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        with process:
            for line in process.stdout:
                if line.strip() == str(last_seen):
                    break
            time.sleep(chance.uniform(0, 0.1))  # into the middle of whatever comes next
            process.kill()
        assert process.returncode == -signal.SIGKILL
        list(train(config, run, resume=True, read_every=read_every))
        for name in ("last.safetensors", "best.safetensors"):
            whole, resumed = (load_checkpoint(tmp_path / folder / name).arrays for folder in ("whole", run))
            assert whole.keys() == resumed.keys()
            assert [key for key in whole if whole[key].tobytes() != resumed[key].tobytes()] == []
        for kind in ("step", "validated"):
            assert [event["step"] for event in read_events(run, kind)] == [
                event["step"] for event in read_events(tmp_path / "whole", kind)
            ]
        assert not list(run.glob(".*"))
