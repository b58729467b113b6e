"""Run command after command in forks of one process that has imported everything: a hundred take seconds.

``python -m tests.faults.forks`` is that process. It reads a request on each line of standard input, and answers how
the command ended. Its file calls go through the library of ``file_calls.c``.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import json
import os
import pkgutil
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("file_calls.c")
#: Seconds after which a command hangs: long, for the machine may be busy.
PATIENCE = 120.0
#: Each process computes on one thread: forks have no others.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class What(IntEnum):
    """What happens to one file call; the numbers are those of ``file_calls.c``."""

    FAIL = 1  # once, with an errno
    FULL = 2  # with ENOSPC, like all later calls that need room
    KILL = 3  # the process is killed before the call
    TEAR = 4  # half of it is written, and then the process is killed
    SHORTEN = 5  # half of it is written, which is no error


class Call(NamedTuple):
    """The ``ordinal``-th call of this kind on this path."""

    name: str  # "write out/a.png"
    ordinal: int


@dataclass(frozen=True)
class Fault:
    """What happens to which file call."""

    call: Call
    what: What
    errno: int = 0


@dataclass(frozen=True)
class Stop:
    """A signal to the command, so many seconds after it began."""

    signal: int
    after: float


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative for a signal), what it said, and its file calls."""

    code: int
    out: str
    err: str
    calls: tuple[str, ...]
    hit: tuple[str, ...]  # the calls that did not do what they should
    seconds: float  # from its beginning to its end
    beside: int | None = None  # the exit code of the second command


def compiled_library(folder: Path) -> Path | None:
    """The library of ``file_calls.c``; None where there is no compiler, or no LD_PRELOAD."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "file_calls.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run([*command, "-lpthread"], check=True)
    return library


@contextmanager
def forks(library: Path, work: Path) -> Iterator[Forks]:
    """The process that forks, which keeps its files in ``work``."""
    home = work / "home"
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ, **ONE_THREAD, "LD_PRELOAD": str(library), "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.faults.forks"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        yield Forks(process, work)
        assert process.stdin is not None
        process.stdin.close()


class Forks:
    """The other end of the process that forks."""

    def __init__(self, process: subprocess.Popen[str], work: Path) -> None:
        self._process = process
        self._files = {name: str(work / name) for name in ("stdin", "stdout", "stderr", "record")}
        Path(self._files["stdin"]).touch()

    def run(
        self, arguments: Sequence[object], folder: Path, *, fault: Fault | None = None, stop: Stop | None = None,
        streams: Mapping[str, str] | None = None, encoding: str = "utf-8", obeys_modes: bool = False,
        beside: Sequence[object] | None = None,
    ) -> Ended:
        """``segattn`` with these arguments, whose file calls below ``folder`` are recorded.

        Args:
            streams: what is in the place of ``"stdin"``, ``"stdout"`` and ``"stderr"``: ``"closed"``, the path of a
                file, ``"gone"`` (a pipe whose reader has ended), or ``"slow"`` (a pipe that is read at a byte a
                second).
            encoding: of the standard streams.
            obeys_modes: whether the command may do only what the modes of files allow, also if it is root.
            beside: the arguments of a second command, at the same time.
        """
        request = {
            "arguments": [str(each) for each in arguments], "folder": os.path.realpath(folder),
            "files": self._files, "fault": fault and asdict(fault), "stop": stop and asdict(stop),
            "streams": dict(streams or {}), "encoding": encoding, "obeys_modes": obeys_modes,
            "beside": beside and [str(each) for each in beside],
        }  # fmt: skip
        for name in ("stdout", "stderr"):  # not what an earlier command wrote, where this one writes elsewhere
            Path(self._files[name]).write_bytes(b"")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        texts = {name: Path(path).read_text(errors="replace") for name, path in self._files.items()}
        out, err, record = texts["stdout"], texts["stderr"], texts["record"]
        lines = record.splitlines()
        return Ended(
            answer["code"], out, err, calls=tuple(line[2:] for line in lines),
            hit=tuple(line[2:] for line in lines if line[0] == "!"), seconds=answer["seconds"],
            beside=answer["beside"],
        )


def _serve() -> None:
    """Answer requests until there are no more."""
    library = ctypes.CDLL(os.environ.pop("LD_PRELOAD"))  # which the processes that commands start do not need
    requests, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder))
    for line in requests:
        request = json.loads(line)
        began = time.monotonic()
        code, beside = _run(request, library)
        answer = {"code": code, "seconds": time.monotonic() - began, "beside": beside}
        print(json.dumps(answer), file=answers, flush=True)


#: What commands import beside our own modules. Not all of it may be installed.
LIBRARIES = (
    "PIL.Image", "av", "matplotlib.backends.backend_agg", "matplotlib.figure", "onnx", "rich.bar", "rich.live",
    "rich.markup", "rich.table", "safetensors.numpy",
)  # fmt: skip


def _prepare(folder: Path) -> None:
    """Import what commands import, and fill the caches by a first training into ``folder``."""
    import segattn_cli

    ours = [each.name for each in pkgutil.walk_packages(segattn_cli.__path__, "segattn_cli.")]
    for name in (*LIBRARIES, *ours):
        if "benchmarking" not in name and not name.endswith("__main__"):
            with suppress(ImportError):
                importlib.import_module(name)

    from PIL import Image

    from segattn_cli.data.images import image_png
    from segattn_cli.explaining import drawings
    from segattn_cli.rendering import charts

    Image.init()
    pixel = image_png(Image.new("RGB", (1, 1)))
    for module in (charts, drawings):  # to draw them takes most of the time of a short training, and no file
        module.figure_png = lambda figure: pixel  # type: ignore[attr-defined]

    from .scenarios import TRAIN, filled

    sample = ("data", "sample", "scenes", "--out", "{w}/data", "--count", "6", "--size", "24,32")
    for arguments in (sample, TRAIN):
        code = _segattn(filled(arguments, folder))
        assert code == 0, f"{arguments} ended with {code}"


def _run(request: dict[str, Any], library: ctypes.CDLL) -> tuple[int, int | None]:
    """Fork, wait, and return how the fork ended, and the one beside it."""
    command, readers = _start(request, library)
    beside = None
    if request["beside"] is not None:
        files = {name: f"{path}-beside" for name, path in request["files"].items()}
        files["stdin"] = request["files"]["stdin"]
        beside, _ = _start({**request, "arguments": request["beside"], "files": files, "fault": None}, library)
    code = _wait(command, request["stop"], readers)
    return code, None if beside is None else _wait(beside, None, [])


def _start(request: dict[str, Any], library: ctypes.CDLL) -> tuple[int, list[int]]:
    """Fork; the process, and the ends of pipes from which its output is to be read slowly."""
    pipes = {name: os.pipe() for name, what in request["streams"].items() if what in ("slow", "gone")}
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _command(request, library, pipes)
        except KeyboardInterrupt:  # before the command began
            code = 128 + signal.SIGINT
        finally:
            os._exit(code)
    with suppress(PermissionError, ProcessLookupError):  # it has done so itself
        os.setpgid(child, child)
    readers = []
    for name, (reader, writer) in pipes.items():
        os.close(writer)
        if request["streams"][name] == "slow":
            fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
            readers.append(reader)
        else:
            os.close(reader)
    return child, readers


def _wait(child: int, stop: dict[str, Any] | None, readers: list[int]) -> int:
    """Wait until ``child`` has ended, and send it the signal; meanwhile read a byte a second."""
    with os.fdopen(os.pidfd_open(child)) as descriptor:
        if stop is not None and not select.select([descriptor], [], [], stop["after"])[0]:
            os.killpg(child, stop["signal"])
        end = time.monotonic() + PATIENCE
        while not select.select([descriptor], [], [], 1 if readers else PATIENCE)[0]:
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
            for reader in readers:
                if select.select([reader], [], [], 0)[0]:
                    os.read(reader, 1)
    for reader in readers:
        os.close(reader)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _take_signals() -> None:
    """Undo what was ignored by who started the tests, such as ``nohup``."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def _command(request: dict[str, Any], library: ctypes.CDLL, pipes: dict[str, tuple[int, int]]) -> int:
    """The fork: run the command as the console script does."""
    os.setpgid(0, 0)
    _take_signals()
    record = os.open(request["files"]["record"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    _open_streams(request, pipes)
    os.chdir(request["folder"])
    if request["obeys_modes"]:
        _give_up_capabilities()
    library.watch_files(os.fsencode(request["folder"]), record)
    fault = request["fault"]
    if fault is not None:
        name, ordinal = fault["call"]
        library.plan_fault(os.fsencode(name), ctypes.c_long(ordinal), fault["what"], fault["errno"])
    code = _segattn(request["arguments"])
    try:
        sys.stdout.flush()
    except Exception:
        traceback.print_exc()
        code = 120  # as the interpreter
    return code


def _open_streams(request: dict[str, Any], pipes: dict[str, tuple[int, int]]) -> None:
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        what = request["streams"].get(name, request["files"][name])
        if name in pipes:
            os.dup2(pipes[name][1], descriptor)
        elif what != "closed":
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND if descriptor else os.O_RDONLY
            opened = os.open(what, flags)
            os.dup2(opened, descriptor)
            os.close(opened)
        stream = None
        if what != "closed":
            stream = open(  # noqa: SIM115
                descriptor, mode, closefd=False, buffering=1, encoding=request["encoding"],
                errors="backslashreplace" if name == "stderr" else "strict",
            )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    for ends in pipes.values():
        for end in ends:
            os.close(end)
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if request["streams"].get(name) == "closed":
            os.close(descriptor)


def _give_up_capabilities() -> None:
    """Make root obey the modes of files: without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    if os.geteuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        sets = (ctypes.c_uint32 * 6)()
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.capget(header, sets) == 0
        for index in (0, 1):  # effective, permitted
            sets[index] &= ~0b110
        assert libc.capset(header, sets) == 0


def _segattn(arguments: Sequence[str]) -> int:
    """The console script in this process; its exit code."""
    from segattn_cli.__main__ import main

    sys.argv = ["segattn", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve()
