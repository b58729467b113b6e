"""What a hostile file may do: nothing but be read, or be refused in one sentence.

A find is what breaks one of these rules:

- The only errors are those of the project, whose message is one sentence.
- No warning is shown.
- Nothing is run, loaded or sent, and nothing is written, moved or removed outside of a folder of the target's own.
- One input takes at most :data:`SECONDS` of CPU time and :data:`MEGABYTES` of memory.

What takes longer, or more, is tried once more, as the first time may have paid for something that stays. Seconds
are longer on a machine that is slower than the one on which :data:`PACE` was measured.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from backends import BackendError
from segattn_cli.errors import LONGEST_MESSAGE, SegattnError

#: CPU time for an input, of at most 64 KB, also where the code is instrumented.
SECONDS = 5.0
#: CPU time of :func:`_work` where these limits were chosen.
PACE = 0.05
#: Memory for an input, beyond what the process held before.
MEGABYTES = 256

#: Events of Python's audit hooks (https://docs.python.org/3/library/audit_events.html) that no file may cause.
FORBIDDEN = frozenset(
    {"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.kill", "subprocess.Popen", "os.putenv",
     "pickle.find_class", "ctypes.dlopen", "socket.connect", "socket.bind", "urllib.Request", "webbrowser.open"}
)  # fmt: skip
#: Events that change paths: the places of each path in their arguments, and of the descriptor of its folder.
CHANGING = {
    "os.remove": ((0, 1),), "os.rename": ((0, 2), (1, 3)), "os.rmdir": ((0, 1),), "os.mkdir": ((0, 2),),
    "os.link": ((0, 2), (1, 3)), "os.symlink": ((1, 2),), "os.truncate": ((0, 9),), "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),), "os.utime": ((0, 3),), "os.setxattr": ((0, 9),),
}  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

T = TypeVar("T")
#: In memory, where there is such a folder: a target writes some thousand files a second.
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
#: The folder of the targets of this process, in one that is removed by the process that started it, if it did.
FOLDER = Path(tempfile.mkdtemp(prefix="segattn-fuzz-", dir=os.environ.get("FUZZ_FOLDER", MEMORY)))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)  # which atheris passes over
os.environ["MPLCONFIGDIR"] = str(FOLDER)


class Find(Exception):
    """An input broke a rule."""


def attempt(function: Callable[..., T], *arguments: Any, **keywords: Any) -> T | None:
    """What ``function`` returns, or None where it refuses its arguments in one sentence."""
    try:
        return function(*arguments, **keywords)
    except (SegattnError, BackendError) as error:
        require_sentence(str(error))
        return None


def require_sentence(text: str) -> None:
    """Raise :class:`Find` where an error's message is none that can be shown, on a line and without control
    characters, which are removed then."""
    if not text.strip() or len(text) > LONGEST_MESSAGE:
        raise Find(f"no sentence: {text[:3000]!r}")


class Judge:
    """Runs a target on one input after the other; raises :class:`Find`, or the error that the target raised.

    Args:
        allowed: events of :data:`FORBIDDEN` that the target itself causes.
    """

    def __init__(self, target: Callable[[bytes], None], allowed: frozenset[str] = frozenset()) -> None:
        self.target = target
        self.forbidden = FORBIDDEN - allowed
        self.broken: list[str] = []  # an error that is raised in a hook may be caught by what caused it
        self._watches = False
        sys.addaudithook(self._audit)
        warnings.showwarning = self._warned

    def warm(self, inputs: Iterable[bytes]) -> None:
        """Let the target import, compile and cache what it needs, before anything is judged."""
        for data in inputs:
            self.target(data)

    def __call__(self, data: bytes) -> None:
        for _ in range(2):
            taken = self._judged(data)
            if taken is None:
                return
        raise Find(f"{len(data)} bytes took {taken}")

    def _judged(self, data: bytes) -> str | None:
        """Run the target; what it took, where that is too much."""
        self.broken.clear()
        _forget_peak()
        before, start = _peak_megabytes(), time.process_time()
        self._watches = True
        try:
            self.target(data)
        finally:
            self._watches = False
        seconds, megabytes = time.process_time() - start, _peak_megabytes() - before
        if self.broken:
            raise Find("; ".join(self.broken))
        if seconds > SECONDS and seconds > SECONDS * _slowness():
            return f"{seconds:.1f} seconds"
        return f"{megabytes:.0f} MB" if megabytes > MEGABYTES else None

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watches:
            return
        if event in self.forbidden:
            self.broken.append(f"the file caused {event}{str(arguments)[:300]}")
        elif event in CHANGING:
            for place, folder in CHANGING[event]:
                self._require_own(event, arguments[place], arguments[folder] if folder < len(arguments) else -1)
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
            self._require_own("the opening for writing", arguments[0])

    def _require_own(self, event: str, path: Any, folder: int = -1) -> None:
        if isinstance(path, int):  # a descriptor, which has been opened
            return
        path = os.fsdecode(path)
        if folder >= 0:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        if not f"{os.path.realpath(path)}{os.sep}".startswith(f"{FOLDER}{os.sep}"):
            self.broken.append(f"the file caused {event} of {path!r}")

    def _warned(self, message: object, category: type, filename: str, line: int, *_: object) -> None:
        self.broken.append(f"{filename}, line {line} warned: {message}")


def _slowness() -> float:
    """How many times as long as in :data:`PACE` this machine takes for the same work, and at least once."""
    return max(1.0, min(map(_work, range(3))) / PACE)


def _work(_: int) -> float:
    """The CPU time of a fixed number of Python's steps."""
    start, total = time.process_time(), 0
    for number in range(2_000_000):
        total ^= number
    return time.process_time() - start


def _forget_peak() -> None:
    """Let the largest size of this process start anew from what it is now (Linux, since 4.0)."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def _peak_megabytes() -> float:
    """The largest size since then. What getrusage says is never less than the process had from which this began."""
    with open("/proc/self/status", "rb") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(b"VmHWM"))
