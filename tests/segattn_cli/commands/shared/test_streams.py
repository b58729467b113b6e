"""The standard streams of a process: closed, full, without a reader, with one that reads nothing."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segattn_cli.commands.shared import streams
from segattn_cli.commands.shared.streams import Messages, Results
from segattn_cli.errors import ExitCode, OutputError
from segattn_cli.runs.checkpoint import load_checkpoint

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes and /dev/full are POSIX's")

SEGATTN = f"{sys.executable} -m segattn_cli"


def in_shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:  # the test has closed it
            assert end in ends


@pytest.mark.parametrize("redirection", [">&-", "<&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_streams_that_are_not_needed(redirection: str) -> None:
    done = in_shell(f"{SEGATTN} presets {redirection}")
    assert done.returncode == ExitCode.OK
    assert done.stderr == ""
    assert ("tiny-scenes" in done.stdout) == (">&-" not in redirection or redirection == "2>&-")


@pytest.mark.parametrize("command", ["presets", "--help", "config --json"])
def test_a_full_standard_output_is_one_sentence(command: str) -> None:
    done = in_shell(f"{SEGATTN} {command} >/dev/full")
    assert done.returncode == ExitCode.OUTPUT
    assert done.stderr.startswith("segattn: Standard output cannot be written (No space left on device): ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">/dev/full 2>/dev/full"])
def test_an_error_has_its_code_also_where_it_cannot_be_said(redirection: str) -> None:
    done = in_shell(f"{SEGATTN} config no.such.key {redirection}")
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.CONFIG, "", "")


def test_files_do_not_take_the_place_of_closed_streams() -> None:
    script = (
        "import os; from segattn_cli.commands.shared.streams import prepare_streams; prepare_streams(); "
        "file = open(os.devnull); print(file.fileno())"
    )
    done = in_shell(f'{sys.executable} -c "{script}" <&- 2>&-')
    assert int(done.stdout) > 2


def test_messages_survive_a_closed_pipe(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    stream = io.TextIOWrapper(io.BufferedWriter(Messages(writer)), line_buffering=True)
    print("first", file=stream)
    assert os.read(reader, 100) == b"first\n"
    os.close(reader)
    for _ in range(3):
        print("nobody reads this", file=stream)


@pytest.mark.parametrize("blocking", [True, False])
def test_messages_do_not_wait_for_ever(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, blocking: bool
) -> None:
    reader, writer = pipe
    monkeypatch.setattr(streams, "PATIENCE", 0.01)
    os.set_blocking(writer, blocking)
    stream = io.TextIOWrapper(io.BufferedWriter(Messages(writer)), line_buffering=True)
    for _ in range(30):
        print("x" * 9999, file=stream)  # more than a pipe takes
    os.set_blocking(reader, False)
    assert len(os.read(reader, 1 << 20)) > 4096
    print("again", file=stream)
    assert os.read(reader, 1 << 20).endswith(b"again\n")


def test_results_wait_for_their_reader(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    stream = io.BufferedWriter(Results(writer))
    content = bytes(range(256)) * 1000
    parts: list[bytes] = []

    def read() -> None:
        while sum(map(len, parts)) < len(content):
            parts.append(os.read(reader, 5000))

    thread = threading.Thread(target=read)
    thread.start()
    stream.write(content)
    stream.flush()
    thread.join()
    assert b"".join(parts) == content


def test_results_fail_once() -> None:
    with open("/dev/full", "wb") as full:
        stream = io.BufferedWriter(Results(full.fileno()))
        stream.write(b"x")
        with pytest.raises(OutputError, match="No space left on device"):
            stream.flush()
        stream.flush()  # as the interpreter does at its end


@pytest.mark.parametrize("reads", ["never", "no more"])
def test_a_training_outlives_the_reader_of_its_messages(pipe: tuple[int, int], tmp_path: Path, reads: str) -> None:
    """As ``segattn train … 2>&1 | tee log`` does, where Ctrl-C ends tee first; and where tee is suspended."""
    reader, writer = pipe
    run = tmp_path / "run"
    settings = (
        "data.scenes={size=[24, 32], train=13, val=2}", "data.workers=1", "network.head_channels=8",
        "network.scale_attention_channels=8", "augmentation.crop=[24, 32]", "training.batch_size=2",
        "training.log_every=1", "training.max_steps=50000", "evaluation.every=9999", "training.backend=numpy",
    )
    command = [sys.executable, "-m", "segattn_cli", "train", "--out", str(run)]
    for setting in settings:
        command += ["--set", setting]
    if reads == "never":
        os.set_blocking(writer, False)
        while streams._is_ready(writer, 0):
            os.write(writer, b"x" * 512)
        os.set_blocking(writer, True)
    with subprocess.Popen(command, stdout=writer, stderr=writer) as process:
        if reads == "no more":
            os.close(reader)
        log = run / "events.jsonl"
        while process.poll() is None and not (log.exists() and log.read_bytes().count(b'"step"') > 3):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(100) == ExitCode.INTERRUPTED
    assert load_checkpoint(run / "last.safetensors").metadata["progress"]["step"] >= 3
