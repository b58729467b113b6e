"""Errors for the user, each kind with an exit code of its own, and the removal of control characters."""

from __future__ import annotations

import errno
import os
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of ``segattn``, which docs/exit-codes.md explains."""

    OK = 0
    FAILURE = 1  # something unexpected: a bug
    USAGE = 2  # the command line itself (also Typer's own code)
    CONFIG = 3  # a configuration: unknown key, preset, value out of range
    DATA = 4  # images, labels or data sets that cannot be used
    CHECKPOINT = 5  # a checkpoint that is damaged, foreign, or of another network
    BACKEND = 6  # a backend, device or precision that is unknown or cannot run here
    OUTPUT = 7  # a file or folder that exists already or cannot be written, or a full disk
    PARTIAL = 8  # finished, but some inputs had to be skipped
    NON_FINITE = 9  # training stopped: a loss or a tensor is not finite
    DISAGREE = 10  # `segattn check`, `bench` or `export --check` found a difference
    MEMORY = 11  # not enough memory, of the machine or of the GPU, for what was asked
    RANK_LOST = 12  # one of several processes was killed, or does not answer any more
    INTERRUPTED = 130  # Ctrl-C
    CLOSED_PIPE = 141  # the reader of the output ended first, as in `segattn … | head`; 128 + SIGPIPE


#: Letters of the longest message: it may quote a file.
LONGEST_MESSAGE = 2000
_END = 300


class SegattnError(Exception):
    """An error whose message is one sentence for the user that also says what to do.

    >>> len(str(SegattnError("x" * 5000)))
    2000
    """

    exit_code = ExitCode.FAILURE

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) <= LONGEST_MESSAGE:
            return text
        return f"{text[: LONGEST_MESSAGE - _END - 3]} … {text[-_END:]}"


class UsageError(SegattnError):
    exit_code = ExitCode.USAGE


class ConfigError(SegattnError):
    exit_code = ExitCode.CONFIG


class DataError(SegattnError):
    exit_code = ExitCode.DATA


class CheckpointError(SegattnError):
    exit_code = ExitCode.CHECKPOINT


class OutputError(SegattnError):
    exit_code = ExitCode.OUTPUT


class NonFiniteError(SegattnError):
    exit_code = ExitCode.NON_FINITE


def lacks_memory(error: BaseException) -> bool:
    """Whether there is no memory for what was asked: for an array, a thread, or a library that is imported.

    >>> lacks_memory(MemoryError()), lacks_memory(RuntimeError("can't start new thread")), lacks_memory(OSError())
    (True, True, False)
    """
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    said = ("can't start new thread", "failed to map segment", "annot allocate memory", "insufficient memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, ImportError | RuntimeError | OSError) and any(each in str(error) for each in said)
    )


def unusable_file(error: OSError) -> str | None:
    """A sentence about an error of the system that no command foresees; None where it is another one: a bug.

    >>> unusable_file(PermissionError(13, "Permission denied", "/data/a"))
    '/data/a cannot be used: Permission denied.'
    >>> unusable_file(OSError(5, "Input/output error"))
    'A file cannot be read or written: Input/output error.'
    """
    if error.errno is None:
        return None
    if isinstance(error.filename, str | bytes):
        return f"{os.fsdecode(error.filename)} cannot be used: {error.strerror}."
    return f"A file cannot be read or written: {error.strerror}."


def printable(text: str) -> str:
    """``text`` with control characters replaced, which a terminal would obey: file names may contain them.

    >>> printable("a\\x1b[31m.png"), printable("caf\\udce9.png")
    ('a?[31m.png', 'caf?.png')
    """
    return "".join(each if each.isprintable() else "?" for each in text)


def counted(number: int, noun: str) -> str:
    """A number and what it counts, in the singular for 1.

    >>> counted(1, "image"), counted(2, "class"), counted(1200, "step")
    ('1 image', '2 classes', '1,200 steps')
    """
    return f"{number:,} {noun if number == 1 else noun + ('es' if noun.endswith('s') else 's')}"
