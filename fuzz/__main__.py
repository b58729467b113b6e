"""``python -m fuzz``: runs targets with atheris, which keeps the inputs that reach code that none reached before.

First the seeds of each target are judged, and ``fuzz/found/TARGET``, the inputs that were finds once: always the
same inputs. Then new ones are made from these and from ``build/fuzz/TARGET``, where earlier runs kept inputs; each
target runs in a process of its own. A find among them ends its target, and is kept there, too, as ``crash-…``,
``oom-…`` or ``timeout-…``. Finds are described last. Any find is exit code 1; with ``--lenient``, only one among
the inputs that are always the same.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import random
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fuzz.judge import MEMORY
from fuzz.targets import NEEDED, TARGETS

FOUND = Path(__file__).parent / "found"
KEPT = Path("build/fuzz")
#: Memory of the process, and bytes of an input.
MOST_MEGABYTES, LONGEST = 2048, 1 << 16
#: Seconds after which an input hangs, whatever else the machine does. What is merely slow is found by CPU time.
HANGS = 300
#: Lines of an error, or of what libFuzzer printed where the process died without one.
LINES = 30
#: Where the process of a target describes its find: a file in the folder that this variable names.
FOLDER, DESCRIPTION = "FUZZ_FOLDER", "find.txt"
#: How libFuzzer says where the input is at which the process died.
WRITTEN = re.compile(r"Test unit written to (\S+)")


class Run(NamedTuple):
    """How fuzzing one target ended."""

    executions: int
    find: str | None  # the error and the path of its input
    works: bool = True  # whether it ended as told, or for an input: else it is the fuzzing that is broken


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"by default all: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60, help="of all targets together")
    parser.add_argument("--chance", type=int, default=0, help="which mutations come; 0: others each time")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of the inputs that are kept")
    parser.add_argument("--replay", action="store_true", help="judge the seeds and former finds alone")
    parser.add_argument("--input", type=Path, help="judge this input of one target alone")
    parser.add_argument("--lenient", action="store_true", help="a find among new inputs is no failure")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if given.here and given.replay:
        return _replay(names[0])
    if given.here:
        _fuzz(names[0], given.seconds, given.chance, given.kept)
    if given.input:
        _judged(names[0])[1](given.input.read_bytes())
        return 0
    names = [name for name in names if _is_available(name)]
    finds = [find for name in names if (find := _run(name, ["--replay"]).find)]
    if not given.replay and not finds:
        chance = given.chance or random.randrange(1, 1 << 31)
        print(f"\n{'new inputs':16} {'':>10} --chance {chance}", flush=True)
        return _fuzz_each(names, given.seconds, chance, given.kept, lenient=given.lenient)
    _describe(finds)
    return 1 if finds else 0


def _is_available(name: str) -> bool:
    """Whether what a target needs is installed; says so where it is not."""
    package, remedy = NEEDED.get(name, ("sys", ""))
    if importlib.util.find_spec(package) is not None:
        return True
    print(f"{name:16} left out: {package} is not installed: {remedy}", flush=True)
    return False


def _fuzz_each(names: list[str], seconds: float, chance: int, kept: Path, *, lenient: bool) -> int:
    """Make new inputs for each target, and describe the finds last."""
    each = max(1, int(seconds / len(names)))
    runs = [_run(name, ["--seconds", f"{each}", "--chance", f"{chance}", "--kept", f"{kept}"]) for name in names]
    finds = [run.find for run in runs if run.find]
    print(f"{'together':16} {sum(run.executions for run in runs):>10} executions, {len(finds)} targets with a find")
    works = all(run.works for run in runs)
    if finds and lenient and works:
        print("What follows was found by chance, and does not fail this run: mend it.")
    _describe(finds)
    return 0 if works and (lenient or not finds) else 1


def _describe(finds: list[str]) -> None:
    for find in finds:
        print(f"\n{find}", flush=True)


def _run(name: str, options: list[str]) -> Run:
    """Run a target in a process of its own, of which nothing is shown but how much it did, and its find."""
    with tempfile.TemporaryDirectory(prefix="segattn-fuzz-", dir=MEMORY) as folder:
        ended = subprocess.run(
            [sys.executable, "-m", "fuzz", name, "--here", *options], stdout=subprocess.PIPE, check=False,
            stderr=subprocess.STDOUT, text=True, errors="replace", env=os.environ | {FOLDER: folder},
        )  # fmt: skip
        description = Path(folder, DESCRIPTION)
        find = description.read_text() if description.exists() else None
    works = True
    if ended.returncode and find is None:
        find = _death(name, ended)
        works = ended.returncode < 0 or WRITTEN.search(ended.stdout) is not None
    # The last is what a process that died had told of by then: its report at every new part of the code.
    counted = re.findall(r"^(?:stat::number_of_executed_units: +|judged: |#)(\d+)", ended.stdout, re.MULTILINE)
    executions = max(map(int, counted), default=0)
    kind = "seeds and former finds" if "--replay" in options else "executions"
    print(f"{name:16} {executions:>10} {kind}{', and a find: see below' if find else ''}", flush=True)
    return Run(executions, find, works and executions > 0)


def _death(name: str, ended: subprocess.CompletedProcess[str]) -> str:
    """The find of a process that could not describe it: a hang, too much memory, an error in a library in C."""
    lines = [line for line in ended.stdout.splitlines() if not re.match(r"#\d+\s|\s*NEW_|stat::", line)][-LINES:]
    written = WRITTEN.search(ended.stdout)
    path = written[1] if written else "no input was written"
    return "\n".join([*lines, f"{name}: the process ended with code {ended.returncode}: {path}"])


def _fuzz(name: str, seconds: float, chance: int, kept: Path) -> None:
    """Run a target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=list(TARGETS[name])):
        target, judge = _judged(name)
    folder = kept / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (folder / f"seed-{number:03}").write_bytes(seed)

    def judged(data: bytes) -> None:
        path = folder / f"crash-{hashlib.sha1(data).hexdigest()}"  # as libFuzzer calls it
        with _described(name, f"--input {path}"):
            judge(data)

    options = [
        f"-seed={chance}", f"-max_total_time={int(seconds)}", f"-timeout={HANGS}",
        f"-rss_limit_mb={MOST_MEGABYTES}",
        f"-max_len={LONGEST}", "-print_final_stats=1", "-close_fd_mask=2", f"-artifact_prefix={folder}/",
    ]  # fmt: skip
    folders = [str(each) for each in (folder, FOUND / name) if each.is_dir()]
    custom = {}
    if hasattr(target, "mutated"):
        # atheris has its own Mutate only while it fuzzes: before, the name is of one that ends the process.
        custom["custom_mutator"] = mutator(target.mutated, lambda data, size: atheris.Mutate(data, size))
    atheris.Setup([sys.argv[0], *options, *folders], judged, **custom)
    atheris.Fuzz()


def mutator(
    mutated: Callable[..., bytes], mutate: Callable[[bytes, int], bytes]
) -> Callable[[bytes, int, int], bytes]:
    """``mutated`` of a target as libFuzzer calls it. An error that it raised would end the process, without a word.

    Where its own readers, which are not judged, cannot read what earlier mutations damaged, any bytes change.
    """

    def once(data: bytes, size: int, seed: int) -> bytes:
        try:
            return mutated(data, mutate, size, random.Random(seed))[:size]
        except Exception:
            return mutate(data, size)

    return once


def _replay(name: str) -> int:
    """Judge the inputs of a target that are always the same."""
    target, judge = _judged(name)
    seeds, found = list(target.seeds()), sorted((FOUND / name).glob("*"))
    for seed in seeds:
        with _described(name, "--replay"):
            judge(seed)
    for path in found:
        with _described(name, f"--input {path}"):
            judge(path.read_bytes())
    print(f"judged: {len(seeds) + len(found)}")
    return 0


@contextmanager
def _described(name: str, arguments: str) -> Iterator[None]:
    """Write an error that is raised inside, and how to raise it again, to where the process that began this one
    reads it."""
    try:
        yield
    except BaseException as error:
        if FOLDER in os.environ:
            lines = "".join(traceback.format_exception(error)).splitlines()[-LINES:]
            lines += [f"{name}: {type(error).__name__}: {str(error)[:300]}", f"python -m fuzz {name} {arguments}"]
            Path(os.environ[FOLDER], DESCRIPTION).write_text("\n".join(lines), errors="replace")
        raise


def _judged(name: str) -> tuple[Any, Any]:
    """The module of a target, and its judge, who has let it import all that it needs."""
    target = importlib.import_module(f"fuzz.targets.{name}")
    from fuzz.judge import Judge

    judge = Judge(target.one_input, getattr(target, "ALLOWED", frozenset()))
    judge.warm(target.seeds())
    return target, judge


if __name__ == "__main__":
    sys.exit(main())
