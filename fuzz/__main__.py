"""``python -m fuzz``: runs targets with atheris, which keeps the inputs that reach code that none reached before.

Each target runs in a process of its own. It starts from its ``seeds()``, from ``fuzz/found/TARGET``, the inputs
that were finds once, and from ``build/fuzz/TARGET``, where earlier runs kept inputs. A find is written there, too,
as ``crash-…`` or ``timeout-…``; it ends the run, with the exit code 1. ``--input FILE`` judges it again.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.judge import MEMORY
from fuzz.targets import TARGETS

FOUND = Path(__file__).parent / "found"
KEPT = Path("build/fuzz")
#: Memory of the process, and bytes of an input.
MOST_MEGABYTES, LONGEST = 2048, 1 << 16
#: Seconds after which an input hangs, whatever else the machine does. What is merely slow is found by CPU time.
HANGS = 300


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"by default all: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60, help="of all targets together")
    parser.add_argument("--chance", type=int, default=0, help="which mutations come; 0: others each time")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of the inputs that are kept")
    parser.add_argument("--replay", action="store_true", help="judge the seeds and former finds; without atheris")
    parser.add_argument("--input", type=Path, help="judge this input of one target; without atheris")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if given.input or given.replay:
        for name in names:
            _replay(name, [given.input.read_bytes()] if given.input else None)
        return 0
    if given.here:
        _fuzz(names[0], given.seconds, given.chance, given.kept)
    return _fuzz_each(names, given.seconds, given.chance, given.kept)


def _fuzz_each(names: list[str], seconds: float, chance: int, kept: Path) -> int:
    """Run targets, each in a process of its own."""
    total, failed = 0, 0
    for name in names:
        options = ["--here", "--seconds", f"{max(1, int(seconds / len(names)))}", "--kept", str(kept)]
        options += ["--chance", str(chance)]
        with tempfile.TemporaryDirectory(prefix="segattn-fuzz-", dir=MEMORY) as folder:
            ended = subprocess.run(
                [sys.executable, "-m", "fuzz", name, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, errors="replace", check=False, env=os.environ | {"FUZZ_FOLDER": folder},
            )  # fmt: skip
        counted = re.search(r"stat::number_of_executed_units: (\d+)", ended.stdout)
        executions = int(counted[1]) if counted else 0
        print(f"{name:16} {executions:>10} executions", flush=True)
        if ended.returncode:
            print(ended.stdout[-8000:], flush=True)
        total += executions
        failed += ended.returncode != 0
    print(f"{'together':16} {total:>10} executions, {failed} targets with a find")
    return 1 if failed else 0


def _fuzz(name: str, seconds: float, chance: int, kept: Path) -> None:
    """Run a target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=list(TARGETS[name])):
        target, judge = _judged(name)
    folder = kept / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (folder / f"seed-{number:03}").write_bytes(seed)
    options = [
        f"-seed={chance}", f"-max_total_time={int(seconds)}", f"-timeout={HANGS}",
        f"-rss_limit_mb={MOST_MEGABYTES}",
        f"-max_len={LONGEST}", "-print_final_stats=1", "-close_fd_mask=2", f"-artifact_prefix={folder}/",
    ]  # fmt: skip
    folders = [str(each) for each in (folder, FOUND / name) if each.is_dir()]
    custom = {}
    if hasattr(target, "mutated"):
        custom["custom_mutator"] = lambda data, size, seed: (
            target.mutated(data, atheris.Mutate, size, random.Random(seed))[:size]
        )
    atheris.Setup([sys.argv[0], *options, *folders], judge, **custom)
    atheris.Fuzz()


def _replay(name: str, inputs: list[bytes] | None) -> None:
    target, judge = _judged(name)
    inputs = [*target.seeds(), *_found(name)] if inputs is None else inputs
    for data in inputs:
        judge(data)
    print(f"{name:16} {len(inputs):>10} inputs", flush=True)


def _found(name: str) -> Iterator[bytes]:
    for path in sorted((FOUND / name).glob("*")):
        yield path.read_bytes()


def _judged(name: str) -> tuple[Any, Any]:
    """The module of a target, and its judge, who has let it import all that it needs."""
    target = importlib.import_module(f"fuzz.targets.{name}")
    from fuzz.judge import Judge

    judge = Judge(target.one_input, getattr(target, "ALLOWED", frozenset()))
    judge.warm(target.seeds())
    return target, judge


if __name__ == "__main__":
    sys.exit(main())
