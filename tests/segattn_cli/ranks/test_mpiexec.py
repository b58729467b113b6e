"""Commands under the real mpiexec: bits, messages, signals, and ends of one rank, which are the ends of all."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from segattn_cli.ranks.launcher import mpiexec
from segattn_cli.runs.checkpoint import load_checkpoint

pytest.importorskip("mpi4py", reason="MPI is not there: pip install '.[mpi]'", exc_type=ImportError)
MPIEXEC = mpiexec()
if MPIEXEC is None:
    pytest.skip("mpiexec is not there: pip install '.[mpi]'", allow_module_level=True)

TINY = [
    "data.scenes={size=[24, 32], train=10, val=3}", "data.workers=1", "network.head_channels=8",
    "network.scale_attention_channels=8", "augmentation.crop=[24, 32]", "schedule.warmup_steps=2",
    "training.batch_size=1", "training.max_steps=3", "training.backend=numpy", "training.log_every=1",
    "training.checkpoint_every=1", "evaluation.every=9", "optimiser.accumulate=4", "training.ema=0.9",
]  # fmt: skip
#: What spoils one rank, before `segattn` runs. Seconds are far more than any step takes.
SEGATTN = [sys.executable, "-c", """
import os, sys
rank, wait = int(os.environ.get("PMI_RANK", 0)), sys.argv.pop(1)
from segattn_cli.ranks import sums
sums.BUCKET = 1 << 16
if wait != "nothing":
    from segattn_cli.training import gradients
    passes = gradients.Differentiator._passes
    def spoilt(self, params, batches, step, *args, **options):
        if step == 1 and rank == 1:
            exec(wait)
        return passes(self, params, batches, step, *args, **options)
    gradients.Differentiator._passes = spoilt
from segattn_cli.__main__ import main
main()
"""]  # fmt: skip


def command(ranks, out, *arguments, spoil="nothing", overrides=()):
    settings = [word for each in (*TINY, *overrides) for word in ("--set", each)]
    start = [MPIEXEC, "-n", str(ranks)] if ranks > 1 else []
    return [*start, *SEGATTN, spoil, "train", *settings, "--out", str(out), *arguments]


def environment():
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "SEGATTN_THREADS"))}
    return {**clean, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(Path(__file__).parents[3])}


def run(*arguments, **options):
    return subprocess.run(
        command(*arguments, **options), capture_output=True, text=True, env=environment(), timeout=600
    )


def assert_same_weights(one, other):
    a, b = (load_checkpoint(run / "last.safetensors").arrays for run in (one, other))
    assert a.keys() == b.keys()
    assert [key for key in a if a[key].tobytes() != b[key].tobytes()] == []


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run on one rank."""
    out = tmp_path_factory.mktemp("runs") / "alone"
    assert run(1, out).returncode == 0
    return out


def test_two_ranks_have_the_bits_of_one_and_print_once(alone, tmp_path):
    done = run(2, tmp_path / "run", "--ranks", "2")
    assert done.returncode == 0, done.stderr
    assert_same_weights(alone, tmp_path / "run")
    assert done.stderr.count("3 steps with numpy on 2 ranks") == 1
    assert done.stdout.count("validation mIoU") == 1
    assert "% hidden, rank" in done.stderr
    results = [json.loads((out / "result.json").read_text()) for out in (alone, tmp_path / "run")]
    assert results[0]["per_class_iou"] == results[1]["per_class_iou"]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_any_number_of_ranks_has_the_bits_of_one(tmp_path, ranks, backend):
    overrides = [f"training.backend={backend}", "optimiser.clip_norm=0.5", "loss.class_weights=log"]
    for number in (1, ranks):
        assert run(number, tmp_path / str(number), overrides=overrides).returncode == 0
    assert_same_weights(tmp_path / "1", tmp_path / str(ranks))


def test_ranks_start_themselves_and_end_by_sigterm_and_another_number_goes_on(alone, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(1, out, "--ranks", "2"), stderr=subprocess.PIPE, text=True, env=environment()
    )  # fmt: skip
    with process:
        for line in process.stderr:
            if line.startswith("step 1/3"):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stderr.read()
    if process.returncode == 130:  # it was stopped before it was done
        assert "Saved. Continue with" in rest
    else:
        assert process.returncode == 0
    assert run(1, out, "--resume").returncode == 0
    assert_same_weights(alone, out)


@pytest.mark.parametrize(
    ("spoil", "code", "sentence"),
    [
        ("from segattn_cli.errors import DataError; raise DataError('9.png is damaged.')", 4, "9.png is damaged."),
        ("raise MemoryError('40 GB')", 11, "There is not enough memory (40 GB)"),
    ],
)
def test_an_error_on_one_rank_is_one_sentence_and_the_exit_code_of_all(tmp_path, spoil, code, sentence):
    done = run(2, tmp_path / "run", spoil=spoil)
    assert done.returncode == code, done.stderr
    assert done.stderr.count(f"segattn: {sentence}") == 1
    assert "Traceback" not in done.stderr
    assert "Abort" not in done.stderr
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").metadata["progress"]["step"] == 1


def test_a_bug_on_one_rank_is_shown_once_with_its_traceback(tmp_path):
    done = run(2, tmp_path / "run", spoil="1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "in _passes" in done.stderr or "in spoilt" in done.stderr


def test_a_rank_that_is_killed_ends_all(alone, tmp_path):
    assert run(2, tmp_path / "run", spoil="os.kill(os.getpid(), 9)").returncode != 0
    assert run(2, tmp_path / "run", "--resume").returncode == 0
    assert_same_weights(alone, tmp_path / "run")


def test_ranks_that_started_themselves_report_that_one_was_killed(tmp_path):
    words = command(1, tmp_path / "run", "--ranks", "2", overrides=["training.max_steps=1000"])
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        for line in process.stderr:
            if line.startswith("step 1/1000"):
                break
        (rank,) = (each for each in ranks_below(process.pid) if each[1] == "1")
        os.kill(rank[0], signal.SIGKILL)
        rest = process.stderr.read()
    assert process.returncode == 12, rest
    assert rest.count("segattn: A rank was killed, so all ranks ended") == 1


def ranks_below(pid):
    """The processes below ``pid`` that are ranks, and which."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        environ = dict(each.partition("=")[::2] for each in Path(f"/proc/{child}/environ").read_text().split("\0"))
        if "PMI_RANK" in environ:
            yield int(child), environ["PMI_RANK"]
        yield from ranks_below(child)


def test_a_rank_that_never_comes_is_not_waited_for(tmp_path):
    code = (
        "import os, sys; os.environ['PMI_RANK'] == '1' and sys.exit(3)\n"
        "from segattn_cli.commands.shared import ranks; ranks.START = 2\n"
        "from segattn_cli.__main__ import main; main()"
    )
    words = [MPIEXEC, "-n", "2", sys.executable, "-c", code, "train", "--out", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, env=environment(), timeout=600)
    assert done.returncode != 0
    assert not (tmp_path / "run").exists()


def test_what_one_rank_alone_cannot_read_ends_all(tmp_path):
    code = (
        "import os; from segattn_cli.errors import ConfigError\n"
        "def fail(*_, **__): raise ConfigError('there is no such file')\n"
        "import segattn_cli.config as config\n"
        "if os.environ['PMI_RANK'] == '1': config.load_config = fail\n"
        "from segattn_cli.__main__ import main; main()"
    )
    words = [MPIEXEC, "-n", "2", sys.executable, "-c", code, "train", "--out", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=600)
    assert (done.returncode, done.stderr.count("segattn: there is no such file")) == (3, 1), done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_rank_that_ends_without_the_others_ends_all_with_its_code(tmp_path):
    assert run(2, tmp_path / "run", spoil="raise SystemExit(7)").returncode == 7


@pytest.mark.slow
def test_a_rank_that_is_stopped_ends_all(tmp_path):
    done = run(2, tmp_path / "run", spoil="os.kill(os.getpid(), 19)")
    assert done.returncode == 12, done.stderr
    assert done.stderr.count("segattn: Rank 1 has not answered for 30 s, and rank 0 waits for ") == 1
    assert "the gradients of its batches, so all ranks end; what was saved is complete" in done.stderr


#: A rank in a call, of which there is one of each kind, and another that stops there, or computes for ever.
WAITING = """
import os, sys, time
import numpy as np
from segattn_cli.ranks import mpi
call, how = sys.argv[1:]
mpi.MISSING, mpi.DEADLINE = 8, {"stops": 3600, "computes": 4}[how]
calls = {
    "gather": lambda comm: comm.gather(1),
    "exchange": lambda comm: comm.exchange(np.zeros((2, 1 << 20))),
    "collect": lambda comm: comm.collect(np.zeros(1 << 20)),
    "later": lambda comm: comm.later(lambda other: other.exchange(np.zeros((2, 1 << 20))))(),
}
comm = mpi.Mpi()
calls[call](comm)
if comm.rank == 1 and how == "stops":  # when it has come, and what it sends is not there yet
    def stop(self, *_):
        os.kill(os.getpid(), 19)
    mpi._Channel._wait = stop
if comm.rank == 1 and how != "stops":
    time.sleep(300)
calls[call](comm)
"""  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("call", ["gather", "exchange", "collect", "later"])
def test_a_rank_that_stops_in_the_middle_of_a_call_is_named(call):
    done = waiting(call, "stops")
    assert done.returncode == 12, done.stderr
    what = {"gather": "its message", "collect": "its array"}.get(call, "its part of a sum of arrays")
    assert done.stderr.count(f"segattn: Rank 1 has not answered for 8 s, and rank 0 waits for {what}, so") == 1


@pytest.mark.parametrize("call", ["gather", pytest.param("later", marks=pytest.mark.slow)])
def test_a_rank_that_lives_and_does_not_come_is_named_after_the_deadline(call):
    done = waiting(call, "computes")
    assert done.returncode == 12, done.stderr
    what = {"gather": "its message", "later": "its part of a sum of arrays"}[call]
    sentence = f"segattn: Rank 1 has not sent {what} within 4 s, so all ranks end; what was saved is complete"
    assert done.stderr.count(sentence) == 1


def waiting(call, how):
    words = [MPIEXEC, "-n", "2", sys.executable, "-c", WAITING, call, how]
    return subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("kill", range(20))
def test_killed_at_random_and_resumed_with_other_ranks(alone, tmp_path, kill):
    chance = random.Random(kill)
    out, step = tmp_path / "run", chance.randint(1, 3)
    process = subprocess.Popen(
        command(2, out), stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    )
    with process:
        for line in process.stderr:
            if line.startswith(f"step {step}/"):
                break
        time.sleep(chance.uniform(0, 0.2))
        os.killpg(process.pid, signal.SIGKILL)
    _wait_until_unlocked(out)
    assert run(chance.choice([1, 2, 4]), out, "--resume").returncode == 0
    assert_same_weights(alone, out)


def _wait_until_unlocked(out):
    """A rank whose mpiexec is gone ends when it notices."""
    from segattn_cli.runs.history import read_history

    deadline = time.monotonic() + 300
    while read_history(out).state == "going on" and time.monotonic() < deadline:
        time.sleep(0.1)


def test_other_numbers_and_arguments_are_refused_in_one_sentence(tmp_path):
    done = run(2, tmp_path / "run", "--ranks", "3")
    assert (done.returncode, done.stderr.count("segattn:")) == (2, 1)
    assert "--ranks is 3, but mpiexec or srun started 2" in done.stderr
    done = run(2, tmp_path / "run", overrides=["optimiser.accumulate=3"])
    assert (done.returncode, done.stderr.count("segattn:")) == (3, 1)
    assert "2 ranks cannot divide the batches of a step, optimiser.accumulate = 3: start 1 or 3" in done.stderr
    done = run(2, tmp_path / "run", "--nonsense")
    assert (done.returncode, done.stderr.count("No such option")) == (2, 1)


def test_eval_and_infer_on_ranks_print_and_write_what_one_does(alone, tmp_path):
    for each in range(3):
        Image.effect_noise((32, 24), 50 + each).convert("RGB").save(tmp_path / f"{each}.png")
    outputs = {}
    for ranks in (1, 2):
        start = [MPIEXEC, "-n", "2"] if ranks == 2 else []
        evaluated, inferred = (
            subprocess.run(
                [*start, *SEGATTN, "nothing", *words], capture_output=True, text=True, env=environment(), check=True
            )
            for words in (
                ["eval", str(alone), "--json", str(tmp_path / f"{ranks}.json"), "--backend", "numpy"],
                ["infer", str(alone), *map(str, sorted(tmp_path.glob("?.png"))), "--backend", "numpy",
                 "--out", str(tmp_path / f"out {ranks}"), "--json", "--batch", "2"],
            )
        )  # fmt: skip
        metrics = json.loads((tmp_path / f"{ranks}.json").read_text())
        del metrics["seconds"]
        lines = [json.loads(line) for line in inferred.stdout.splitlines()]
        names = [Path(line["input"]).name for line in lines if "input" in line]
        label_maps = [path.read_bytes() for path in sorted((tmp_path / f"out {ranks}").iterdir())]
        outputs[ranks] = metrics, names, label_maps, evaluated.stdout.count("mIoU")
    assert outputs[1] == outputs[2]
    assert outputs[1][1] == ["0.png", "1.png", "2.png"]


def test_a_plain_run_imports_no_mpi():
    code = "import sys, segattn_cli.training, segattn_cli.app; print('mpi4py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), check=True)
    assert done.stdout.strip() == b"False"
