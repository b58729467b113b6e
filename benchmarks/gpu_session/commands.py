"""Commands with a time limit, each in a process group of its own, and the log of what they printed."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Seconds that a command has, after it was interrupted, to say what it has done so far.
GRACE = 15.0
#: Letters of a command's output that are logged: of its beginning and of its end.
HEAD, TAIL = 4_000, 24_000
#: Letters of the whole log, from which on only the last of them are logged for each command.
LARGEST, LEAST = 1_000_000, 1_000


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int  # its exit code; negative: the signal that ended it
    late: bool  # whether it was ended by the limit
    seconds: float
    output: str  # standard output and standard error together

    @property
    def last_line(self) -> str:
        """The last line that is not empty."""
        return next((line.strip() for line in reversed(self.output.splitlines()) if line.strip()), "no output")


class Processes:
    """Runs commands, from any thread; :meth:`end` ends all that are running."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = threading.Event()

    def run(
        self, name: str, command: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None
    ) -> Finished:
        """Run ``command`` in the repository for at most ``seconds``.

        At the limit it is interrupted, as by Ctrl-C, so that it can write what it has; :data:`GRACE` seconds later
        it is killed, with all that it has started.
        """
        start = time.monotonic()
        with tempfile.TemporaryFile() as output:
            code, late = self._wait(command, output.fileno(), seconds, environment or {})
            output.seek(0)
            text = output.read().decode(errors="replace")
        finished = Finished(code, late, time.monotonic() - start, text)
        self.log.write(name, command, finished)
        return finished

    def _wait(
        self, command: Sequence[str], output: int, seconds: float, environment: Mapping[str, str]
    ) -> tuple[int, bool]:
        """The exit code, and whether the limit ended it."""
        if self._ended.is_set():
            return -signal.SIGINT, True
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT,
                env=os.environ | environment, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            os.write(output, f"{command[0]}: {error.strerror}\n".encode())
            return 127, False
        self._running.add(process)
        late = False
        try:
            try:
                process.wait(max(seconds, 0))
            except subprocess.TimeoutExpired:
                late = True
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
            code = process.poll()
            return (-signal.SIGKILL if code is None else code), late or self._ended.is_set()
        finally:
            _kill(process)
            self._running.discard(process)

    @property
    def ended(self) -> bool:
        """Whether :meth:`end` was called."""
        return self._ended.is_set()

    def end(self) -> None:
        """End all commands, and start no other one."""
        self._ended.set()
        for process in list(self._running):
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the group of a process."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Log:
    """One text file for the output of all commands, of each the beginning and the end."""

    def __init__(self, path: Path, hidden: Mapping[str, str]) -> None:
        self.path = path
        self._hidden = hidden  # paths of this machine, and what stands for them
        self._lock = threading.Lock()
        earlier = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(shortened(earlier, tail=LARGEST // 4), encoding="utf-8")

    def write(self, name: str, command: Sequence[str], finished: Finished) -> None:
        """Append a command and what it printed."""
        ending = "ended by the time limit" if finished.late else f"exit code {finished.code}"
        heading = f"===== {name}: {shlex.join(command)}\n===== {ending} after {finished.seconds:.1f} s\n"
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            sizes = (HEAD, TAIL) if file.tell() < LARGEST else (0, LEAST)
            file.write(self.without_paths(f"{heading}{shortened(finished.output, *sizes)}\n"))

    def without_paths(self, text: str) -> str:
        """``text`` without the folders of this machine."""
        for path, name in self._hidden.items():
            text = text.replace(path, name)
        return text


def shortened(text: str, head: int = HEAD, tail: int = TAIL) -> str:
    """The beginning and the end of ``text``; progress that overwrote itself leaves its last state.

    >>> shortened("abcdefghij", head=2, tail=3)
    'ab\\n… 5 characters are left out …\\nhij'
    """
    text = "\n".join(line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n"))
    left_out = len(text) - head - tail
    if left_out <= 0:
        return text
    return f"{text[:head]}\n… {left_out} characters are left out …\n{text[-tail:]}"


#: The Python of all commands.
PYTHON = sys.executable
