"""What a rank says before it aborts is read by then: mpiexec drops what it has not read."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from segattn_cli.ranks.mpi import wait_until_read

#: A rank that says a sentence and aborts; the end of MPI writes when that was.
ABORTS = """
import os, time
from types import SimpleNamespace
from segattn_cli.ranks.mpi import Mpi
rank = object.__new__(Mpi)
end = lambda code: (print(time.monotonic(), flush=True), os._exit(code))
rank._mpi = SimpleNamespace(COMM_WORLD=SimpleNamespace(Abort=end))
os.write(2, b"the sentence")
rank.abort(12)
"""


def test_a_rank_aborts_when_what_it_said_is_read():
    command = [sys.executable, "-c", ABORTS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as rank:
        while not unread(rank.stderr) and rank.poll() is None:
            time.sleep(0.01)
        time.sleep(0.2)  # it stays in the pipe, and the rank does not abort
        read = time.monotonic()
        assert rank.stderr.read(12) == b"the sentence"
        assert float(rank.stdout.read()) >= read
    assert rank.returncode == 12


def unread(pipe) -> int:
    fcntl, termios = (pytest.importorskip(name) for name in ("fcntl", "termios"))
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_nobody_who_reads_is_not_waited_for():
    out, into = os.pipe()
    os.write(into, b"a sentence")
    began = time.monotonic()
    wait_until_read(into, 0.1)
    assert 0.1 <= time.monotonic() - began < 60
    assert os.read(out, 20) == b"a sentence"
    os.close(out)
    os.close(into)


def test_a_file_is_not_waited_for(tmp_path):
    with open(tmp_path / "log", "w+b") as file:
        file.write(b"a sentence")
        file.seek(0)
        began = time.monotonic()
        wait_until_read(file.fileno(), 60)
    assert time.monotonic() - began < 30
