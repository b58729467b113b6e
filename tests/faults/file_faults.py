"""A command with a fault at one of its file calls: what must hold then, and after it has been run again."""

from __future__ import annotations

import errno
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from segattn_cli.errors import ExitCode

from .forks import Call, Ended, Fault, Forks, What
from .scenarios import (
    SCENARIOS,
    Scenario,
    contents,
    filled,
    is_under,
    meanings,
    prepare,
    said,
    unfinished,
)

#: Exit codes of a command that could not do its work, for a reason outside of it.
REFUSALS = {
    ExitCode.CONFIG, ExitCode.DATA, ExitCode.CHECKPOINT, ExitCode.OUTPUT, ExitCode.PARTIAL,
}  # fmt: skip
#: The error that each kind of call really meets, and the others that it may meet.
USUAL = {
    "open-write": errno.EACCES, "open-read": errno.EACCES, "open-folder": errno.EACCES, "list": errno.EIO,
    "read": errno.EIO, "write": errno.ENOSPC, "fsync": errno.EIO, "close": errno.EIO, "flock": errno.EIO,
    "truncate": errno.EIO, "seek": errno.EIO, "mkdir": errno.ENOSPC, "unlink": errno.EACCES,
    "rename": errno.EACCES, "link": errno.EACCES, "stat": errno.EACCES,
}  # fmt: skip
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EINTR)
#: Calls that a signal may interrupt, and that Python makes again.
RETRIED = ("open-write", "open-read", "read", "write", "fsync", "flock", "truncate")
#: Calls that change something. A process that is killed before another call leaves what one leaves that is killed
#: before the next of these.
CHANGING = ("open-write", "write", "fsync", "truncate", "mkdir", "unlink", "rename", "link")
#: Calls that remove what is unfinished: where one fails, it stays.
REMOVING = ("unlink", "stat", "list", "open-folder", "open-read", "rename", "close", "flock")


@dataclass(frozen=True)
class Undisturbed:
    """A command without a fault."""

    calls: tuple[Call, ...]
    before: dict[str, str]  # meanings of the outputs
    after: dict[str, str]
    untouched: dict[str, str]  # contents of all other files
    code: int


class Scene:
    """A scenario in a folder of its own, which is made anew for each fault."""

    def __init__(self, name: str, forks: Forks, template: Path, work: Path) -> None:
        self.name, self.forks = name, forks
        self.scenario: Scenario = SCENARIOS[name]
        self.folder = work / "scene"
        self.start = work / "start"
        self.counts: Counter[str] = Counter()
        self.spent = 0.0  # seconds on its faults
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        # Where the configuration and the study have absolute paths, they are those of the folder of each fault.
        prepare(forks, name, template, self.folder)
        if name == "ablate":  # its runs are trained by processes of their own, before
            ended = self._run(tuple(each for each in self.scenario.command if each != "--resume"))
            assert ended.code == 0, ended.err
        self.folder.rename(self.start)
        self.undisturbed = self._undisturbed()

    def _undisturbed(self) -> Undisturbed:
        self.renew()
        before, untouched = meanings(self.folder, self.scenario.outputs), self._untouched()
        ended = self._run(self.scenario.command)
        assert ended.code in (0, ExitCode.PARTIAL), said(ended)
        assert self._untouched() == untouched, "an undisturbed command changed what is not its output"
        assert not unfinished(self.folder)
        after = meanings(self.folder, self.scenario.outputs)
        assert not [name for name, text in after.items() if text.startswith("damaged")], after
        ordinals: Counter[str] = Counter()
        calls = []
        for name in ended.calls:
            ordinals[name] += 1
            calls.append(Call(name, ordinals[name]))
        return Undisturbed(tuple(calls), before, after, untouched, ended.code)

    def renew(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.start, self.folder, symlinks=True)

    def _run(self, command: tuple[str, ...], fault: Fault | None = None) -> Ended:
        return self.forks.run(filled(command, self.folder), self.folder, fault=fault)

    def _untouched(self) -> dict[str, str]:
        found = contents(self.folder)
        return {name: text for name, text in found.items() if not is_under(name, self.scenario.outputs)}

    def problems(self, fault: Fault) -> Iterator[str]:
        """What does not hold, of the command with ``fault`` and of the one that follows it."""
        self.renew()
        ended = self._run(self.scenario.command, fault)
        self.counts["commands"] += 1
        if not ended.hit:
            self.counts["not reached"] += 1
        elif fault.what in (What.KILL, What.TEAR):
            self.counts["kills at file calls"] += 1
        else:
            self.counts["errors of file calls"] += 1
        yield from (f"{each}: {said(ended)}" for each in self._ending(ended, fault))
        yield from self._files(ended, fault)
        yield from self._again()

    def _ending(self, ended: Ended, fault: Fault) -> Iterator[str]:
        kills = fault.what in (What.KILL, What.TEAR)
        if kills and ended.hit:
            if ended.code != -signal.SIGKILL:
                yield f"was not killed, but ended with {ended.code}"
            return
        if "Traceback" in ended.err or "Exception ignored" in ended.err:
            yield f"a traceback, exit code {ended.code}"
            return
        sentences = [line for line in ended.err.splitlines() if line.startswith("segattn: ")]
        if ended.code == self.undisturbed.code or is_refused_by_typer(ended):
            return
        if ended.code not in REFUSALS:
            yield f"exit code {ended.code}"
        elif not sentences and not self._has_reported(ended):
            yield f"exit code {ended.code} without a sentence"
        elif len(sentences) > 1 and ended.code != ExitCode.PARTIAL:
            yield f"{len(sentences)} sentences"
        is_no_error = fault.what == What.SHORTEN or fault.errno == errno.EINTR
        if is_no_error and not fault.call.name.endswith(".npy"):  # written by fwrite, which knows no short writes
            yield f"exit code {ended.code} for what is no error"

    def _files(self, ended: Ended, fault: Fault) -> Iterator[str]:
        changed = _different(self._untouched(), self.undisturbed.untouched)
        if changed:
            yield f"what is not an output was changed: {changed}"
        found = meanings(self.folder, self.scenario.outputs)
        sealed = self.scenario.seal is None or f"out/{self.scenario.seal}" in found
        before, after = self.undisturbed.before, self.undisturbed.after
        has_less = ended.code == ExitCode.PARTIAL or self._has_reported(ended)  # and says so
        if self.name != "train" and sealed and not has_less:  # whose files change as it goes on
            for name, text in found.items():
                if text not in (before.get(name), after.get(name)):
                    yield f"{name} has neither its old nor its new content: {text}"
            lost = sorted(before.keys() - found.keys())
            if lost:
                yield f"lost: {lost}"
        for name, text in found.items():
            is_cut_log = name.endswith(".jsonl") and ended.code < 0  # of which a reader takes the whole lines
            if text.startswith("damaged") and sealed and not is_cut_log:
                yield f"{name} is {text}"
        spared = self.scenario.spared
        wanted = {name: text for name, text in after.items() if name in found or not is_under(name, spared)}
        if ended.code == self.undisturbed.code and found != wanted:
            yield f"ended well with other results: {_different(found, wanted)}: {said(ended)}"
        kind = fault.call.name.split()[0]
        may_stay = fault.what in (What.FAIL, What.FULL) and kind in REMOVING
        if ended.code >= 0 and not may_stay and unfinished(self.folder):
            yield f"left unfinished: {unfinished(self.folder)}"

    def _has_reported(self, ended: Ended) -> bool:
        return self.scenario.reports and ended.code == ExitCode.DATA

    def _again(self) -> Iterator[str]:
        command = self.scenario.again
        for name in self.scenario.removed:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        if self.name == "train" and not (self.folder / "out" / "config.toml").exists():
            command = self.scenario.command
        ended = self._run(command)
        if ended.code != self.undisturbed.code:
            yield f"the command that follows ended with {ended.code}: {said(ended)}"
            return
        if "Traceback" in ended.err:
            yield f"the command that follows: {said(ended)}"
        found = meanings(self.folder, self.scenario.outputs)
        if found != self.undisturbed.after:
            yield f"the command that follows has other results: {_different(found, self.undisturbed.after)}"
        if unfinished(self.folder):
            yield f"the command that follows leaves {unfinished(self.folder)}"


def is_refused_by_typer(ended: Ended) -> bool:
    """Whether an argument is refused in Typer's own words, which have a box: of a path, that it is not readable."""
    return ended.code == ExitCode.USAGE and "Usage:" in ended.err


def _different(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return [f"{name} ({found.get(name, 'absent')[:80]})" for name in names[:4]]


def all_faults(calls: Iterable[Call]) -> Iterator[Fault]:
    """Each of these calls with each error, short, and as the last of the process."""
    for call in calls:
        kind = call.name.split()[0]
        errors = (each for each in ERRORS if each != errno.EINTR or kind in RETRIED)
        yield from (Fault(call, What.FAIL, error) for error in errors)
        if kind in CHANGING:
            yield Fault(call, What.FULL)
            yield Fault(call, What.KILL)
        if kind == "write":
            yield Fault(call, What.TEAR)
            yield Fault(call, What.SHORTEN)


def telling_faults(calls: Iterable[Call]) -> Iterator[Fault]:
    """A fault for each kind of call on each kind of file: its usual error, and a kill where it changes something.

    Files are of one kind where their names differ in numbers alone or, further below, have the same ending.
    """
    seen = set()
    for call in calls:
        kind, path = call.name.split(" ", 1)
        parts = Path(re.sub(r"\d+[^/.]*", "#", path)).parts
        shape = parts if len(parts) < 3 else (*parts[:-1], Path(parts[-1]).suffix)
        if (kind, shape) in seen or kind == "seek":
            continue
        seen.add((kind, shape))
        yield Fault(call, What.FAIL, USUAL[kind])
        if kind in CHANGING:
            yield Fault(call, What.TEAR if kind == "write" else What.KILL)
