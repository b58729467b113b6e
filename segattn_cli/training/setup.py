"""What has to be there before the first step, and is checked then."""

from __future__ import annotations

from pathlib import Path

from backends.contract import Ops
from reference.networks import Network
from segattn_cli import runs
from segattn_cli.config import Config
from segattn_cli.data import Dataset, SceneOptions, open_dataset
from segattn_cli.errors import CheckpointError, DataError, OutputError
from segattn_cli.files import write_atomically
from segattn_cli.runs.checkpoint import load_checkpoint
from segattn_cli.training.state import Progress, State
from segattn_cli.weights import Match, weights_for

#: What a run leaves behind that was killed while it wrote a file.
PARTIAL = ".*.partial"


def open_splits(config: Config) -> tuple[Dataset, Dataset]:
    """The data to train and to validate on; the latter keep their own size, for labels are never resized."""
    data = config.data
    training = open_dataset(
        data.source, format=data.format, split=data.train_split, size=data.size,
        scenes=SceneOptions(data.scenes.train, data.scenes.size), val_fraction=data.val_fraction,
        intensity=data.intensity,
    )
    validation = open_dataset(
        data.source, format=data.format, split=data.val_split,
        scenes=SceneOptions(data.scenes.val, data.scenes.size), val_fraction=data.val_fraction,
        intensity=data.intensity,
    )
    return training, validation


def steps_per_epoch(config: Config, training: Dataset) -> int:
    """How many whole steps the data set is good for. Raises :class:`DataError` for none."""
    images = config.training.batch_size * config.optimiser.accumulate
    if len(training) < images:
        raise DataError(
            f"The split {training.split!r} of {training.name} has {len(training)} images, fewer than the {images} "
            "of one step: lower training.batch_size or optimiser.accumulate, or add images."
        )
    return len(training) // images


def initial_state(
    config: Config, network: Network, training: Dataset, ops: Ops, resumed: Path | None
) -> tuple[State, Match | None]:
    """The state to train from: that of the last checkpoint in the folder ``resumed`` if there is one, else fresh.

    A fresh one takes what network.weights has for it, which is returned, too. Raises :class:`CheckpointError`
    where a file does not fit network or classes.
    """
    ema = config.training.ema is not None
    path = None if resumed is None else resumed / runs.LAST
    if path is None or not path.exists():
        fresh, loaded = network.initialise(config.training.seed), None
        if config.network.weights is not None:
            loaded = weights_for(network, config.network.weights)
            fresh |= loaded.params
        return State.of(fresh, Progress(), ops, ema=ema), loaded
    checkpoint = load_checkpoint(path)
    before, classes, _ = runs.describe_checkpoint(path, checkpoint.metadata)
    if classes != training.classes:
        raise CheckpointError(
            f"{path} was trained on other classes ({', '.join(classes)}) than {training.name} has "
            f"({', '.join(training.classes)}): start anew with another --out."
        )
    for key, value in before.network.parts().items():
        wanted = getattr(config.network, key)
        if value != wanted:
            raise CheckpointError(
                f"{path} is of another network: network.{key} is {value} there and {wanted} here; resume it as it "
                "was, or start anew with another --out."
            )
    if "progress" not in checkpoint.metadata:
        raise CheckpointError(f"{path} is a model without the state of its training, which cannot go on from it.")
    shapes = network.shapes()
    for prefix in ("", runs.MOMENTUM, runs.EMA):
        found = runs.arrays_under(checkpoint.arrays, prefix)
        wanted = {name: shapes[name] for name in found if name in shapes} if prefix else shapes
        runs.require_shapes(path, found, wanted)
    try:
        progress = Progress(**checkpoint.metadata["progress"])
    except TypeError as error:
        raise CheckpointError(f"{path} does not say how far its training was: {error}.") from None
    return State.of(checkpoint.arrays, progress, ops, ema=ema), None


def enter_folder(out: Path, config: Config, resume: bool) -> None:
    """Make the run's folder and write its configuration; to ``resume``, it has to be there.

    Raises :class:`OutputError`, before anything is changed, for a folder that holds something already.
    """
    if resume and not (_exists(out) and (out / runs.CONFIG).is_file()):
        raise OutputError(f"There is no run in {out} to resume: leave --resume away to start one.")
    if not resume and _exists(out) and not (out.is_dir() and set(out.iterdir()) <= set(out.glob(PARTIAL))):
        raise OutputError(f"{out} exists already: go on with its run by --resume, or choose another --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {out} cannot be made: {error.strerror}; choose another --out.") from None
    write_atomically(out / runs.CONFIG, config.as_toml().encode())


def clear_partial_files(out: Path) -> None:
    """Remove what a run left that was killed while it wrote; nobody else may be at work in ``out``."""
    for partial in out.glob(PARTIAL):
        partial.unlink()


def _exists(out: Path) -> bool:
    try:
        return out.exists()
    except OSError as error:
        raise OutputError(f"There cannot be a folder {out}: {error.strerror}; choose another --out.") from None
