"""One recipe, trained by segattn and by PyTorch in turn with several seeds: mIoU and minutes of both, as a table.

    python -m benchmarks.beside_torch fcn-resnet18-camvid --data CamVid --seeds 0,1,2 --out runs/beside
    python -m benchmarks.beside_torch my.toml --augmentation torch --seeds 0,1,2 --out runs/beside

Each training is a process of its own, one after the other. PyTorch's is :mod:`benchmarks.torch_training`. The
command can be given again: what has a result in the folder is not repeated, and a training of segattn that was cut
short goes on. The mIoU is that of the last validation. Minutes are those of the training without validations.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from benchmarks.command_line import run
from benchmarks.torch_training import Data, Settings, Source, configure, say, seeds_of
from segattn_cli import runs
from segattn_cli.errors import OutputError
from segattn_cli.files import write_atomically
from segattn_cli.runs.history import read_history


class Trained(NamedTuple):
    """The result of one training."""

    miou: float
    minutes: float


def train_segattn(config: Path, seed: int, folder: Path) -> Trained:
    """Train with segattn into ``folder``, or take the result that is there."""
    if not (folder / runs.RESULT).exists():
        given = ["--resume"] if (folder / runs.CONFIG).exists() else []
        _call("segattn_cli", "train", str(config), "--seed", str(seed), "--out", str(folder), *given)
    result = json.loads((folder / runs.RESULT).read_text(encoding="utf-8"))
    validations = sum(each.seconds for each in read_history(folder).validations)
    return Trained(result["last_miou"], (result["seconds"] - validations) / 60)


def train_torch(config: Path, seed: int, folder: Path, augmentation: str) -> Trained:
    """Train with PyTorch into ``folder/SEED``, or take the result that is there."""
    file = folder / str(seed) / "result.json"
    if not file.exists():
        given = ["--seeds", str(seed), "--augmentation", augmentation]
        _call("benchmarks.torch_training", str(config), "--out", str(folder), *given)
    result = json.loads(file.read_text(encoding="utf-8"))
    return Trained(result["miou"], result["training_seconds"] / 60)


def _call(module: str, *arguments: str) -> None:
    """Run a module as a process; where it fails, it has said why, and this process ends with its exit code."""
    code = subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode
    if code:
        sys.exit(code)


def table(results: Mapping[int, Mapping[str, Trained]]) -> str:
    """The mIoU in per cent and the minutes of each seed, their means, and the comparison, in Markdown.

    >>> print(table({0: {"segattn": Trained(0.5, 8), "PyTorch": Trained(0.49, 10)},
    ...              1: {"segattn": Trained(0.52, 8), "PyTorch": Trained(0.53, 10)}}))
    | seed | segattn: mIoU | minutes | PyTorch: mIoU | minutes |
    | --- | --- | --- | --- | --- |
    | 0 | 50.0 | 8.0 | 49.0 | 10.0 |
    | 1 | 52.0 | 8.0 | 53.0 | 10.0 |
    | mean ± standard deviation | 51.0 ± 1.4 | 8.0 | 51.0 ± 2.8 | 10.0 |
    | segattn beside PyTorch | +0.0 ± 1.4 | 0.80 times | | |
    """
    lines = ["| seed | segattn: mIoU | minutes | PyTorch: mIoU | minutes |", "| --- | --- | --- | --- | --- |"]
    for seed, pair in results.items():
        cells = [f"{100 * each.miou:.1f} | {each.minutes:.1f}" for each in pair.values()]
        lines.append(f"| {seed} | {' | '.join(cells)} |")
    ours, theirs = ([pair[name] for pair in results.values()] for name in ("segattn", "PyTorch"))
    means = [f"{_spread([each.miou for each in side])} | {_minutes(side):.1f}" for side in (ours, theirs)]
    lines.append(f"| mean ± standard deviation | {' | '.join(means)} |")
    differences = [one.miou - other.miou for one, other in zip(ours, theirs, strict=True)]
    ratio = _minutes(ours) / _minutes(theirs)
    lines.append(f"| segattn beside PyTorch | {_spread(differences, sign='+')} | {ratio:.2f} times | | |")
    return "\n".join(lines)


def _spread(fractions: Sequence[float], sign: str = "") -> str:
    mean = f"{100 * statistics.fmean(fractions):{sign}.1f}"
    return mean if len(fractions) < 2 else f"{mean} ± {100 * statistics.stdev(fractions):.1f}"


def _minutes(trained: Sequence[Trained]) -> float:
    return statistics.fmean(each.minutes for each in trained)


def main(
    source: Source,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of all trainings; a second call goes on there.")],
    settings: Settings = None,
    data: Data = None,
    seeds: Annotated[str, typer.Option(metavar="N,N", help="Seeds, such as 0,1,2.")] = "0,1,2",
    augmentation: Annotated[
        str, typer.Option(metavar="NAME", help="Batches of PyTorch's training: segattn's, or its own by torch.")
    ] = "segattn",
) -> None:
    """Train with segattn and with PyTorch in turn, and print a table of their mIoU and minutes."""
    config = configure(source, settings, data)
    numbers = seeds_of(seeds, config)
    file, text = out / "recipe.toml", config.as_toml()
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise OutputError(f"{out} has trainings of another configuration: choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text.encode())
    results = {}
    for seed in numbers:
        say(f"seed {seed}: segattn")
        ours = train_segattn(file, seed, out / f"segattn-{seed}")
        say(f"seed {seed}: PyTorch")
        results[seed] = {"segattn": ours, "PyTorch": train_torch(file, seed, out / "torch", augmentation)}
    print(table(results))


if __name__ == "__main__":
    run(main)
