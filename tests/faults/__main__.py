"""``python -m tests.faults --seconds 3600 --seed 1``: faults by chance, for so long.

Half of the time a command has a fault at one of its file calls; the other half, a training is killed or
stopped at random moments until it ends. Counts and problems are written to a file as they come.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from segattn_cli.files import write_atomically

from .file_faults import Scene, all_faults
from .forks import compiled_library, forks
from .random_ends import VARIANTS, Training
from .scenarios import SCENARIOS, available, make_template

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--record", type=Path, default=Path("build/faults.json"))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    given.record.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="segattn-faults-") as folder:
        return _run(Path(folder), given)


def _run(work: Path, given: argparse.Namespace) -> int:
    library = compiled_library(work)
    if library is None:
        print("File calls fail by LD_PRELOAD: needs Linux and a C compiler.", file=sys.stderr)
        return 1
    chance, began = random.Random(given.seed), time.monotonic()
    problems: list[str] = []
    scenes: dict[str, Scene] = {}
    trainings: dict[str, Training] = {}
    names = [name for name in SCENARIOS if available(SCENARIOS[name])]
    with forks(library, work) as processes:
        make_template(processes, work / "template")
        while time.monotonic() < began + given.seconds:
            spent = {"faults": sum(each.spent for each in scenes.values()),
                     "signals": sum(each.spent for each in trainings.values())}  # fmt: skip
            start = time.monotonic()
            if spent["faults"] <= spent["signals"]:
                name = chance.choice(names)
                if name not in scenes:
                    scenes[name] = Scene(name, processes, work / "template", work / f"scene-{len(scenes)}")
                scene = scenes[name]
                fault = chance.choice(list(all_faults(scene.undisturbed.calls)))
                found = [f"{name}: {fault}: {each}" for each in scene.problems(fault)]
                scene.spent += time.monotonic() - start
            else:
                name, number = chance.choice(list(VARIANTS)), chance.choice(SIGNALS)
                if name not in trainings:
                    place = work / f"training-{len(trainings)}"
                    trainings[name] = Training(name, processes, work / "template", place, chance)
                training = trainings[name]
                found = [f"{name}: {each}" for each in training.problems(number)]
                training.spent += time.monotonic() - start
            for each in found:
                print(each, flush=True)
            problems += found
            counts: Counter[str] = sum((each.counts for each in (*scenes.values(), *trainings.values())), Counter())
            record = {
                "seed": given.seed, "seconds": round(time.monotonic() - began), "counts": counts,
                "problems": problems,
            }  # fmt: skip
            write_atomically(given.record, json.dumps(record, indent=1).encode())
    print(json.dumps(counts, indent=1))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
