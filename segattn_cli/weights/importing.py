"""From a file of weights to a checkpoint of ours, of a backbone or of a whole network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reference.networks import NetworkConfig, build_network
from segattn_cli.config import described_config
from segattn_cli.data import IGNORE_LABEL, default_palette
from segattn_cli.data.formats.class_lists import guess_classes, named_classes
from segattn_cli.errors import CheckpointError, UsageError
from segattn_cli.runs import BACKBONE
from segattn_cli.runs.checkpoint import KEY
from segattn_cli.weights.layouts import naming_of
from segattn_cli.weights.matching import Match, match
from segattn_cli.weights.names import BACKBONE_SETTINGS, Naming
from segattn_cli.weights.reading import WeightsFile, read_weights
from segattn_cli.weights.tensors import FileError

LONGEST_CLASS = 100  # letters
Kind = Literal["backbone", "network"]
Classes = tuple[tuple[str, ...], np.ndarray]


@dataclass(frozen=True)
class Imported:
    """What :func:`import_weights` made of a file, ready for :func:`segattn_cli.runs.checkpoint.save_checkpoint`."""

    kind: Kind
    match: Match
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]
    notes: tuple[str, ...] = ()


def import_weights(
    path: Path | str, *, kind: Kind | None = None, layout: str = "auto", names: str | None = None,
    reset_classes: bool = False, decimate: bool = True, settings: Sequence[str] = (),
) -> Imported:
    """Read ``path`` and give its arrays our names and shapes.

    Args:
        kind: ``"network"`` makes a checkpoint that predicts, ``"backbone"`` one to train from; by default whatever
            the file holds.
        layout: whose names the file has: a key of :data:`segattn_cli.weights.layouts.LAYOUTS`, or ``auto``.
        names: the classes: a data set that is known, or a file with one name a line. By default what the file
            says, or else what the number of classes suggests.
        reset_classes: start the classifiers anew, for the classes ``names``.
        decimate: whether fc6 and fc7 of a VGG become those of DeepLab-LargeFOV; else they are left out.
        settings: ``"network.key=value"``, for what no tensor tells.

    Raises:
        CheckpointError: for a file that cannot be read, or does not fit the network that it claims to be.
        UsageError: for a network that is asked of a file that holds a backbone, and classes that do not fit.
    """
    file = read_weights(path)
    try:
        naming = naming_of(file, layout)
        if (kind or ("network" if naming.holds_network else BACKBONE)) == "network":
            return _network(file, naming, names, reset_classes, settings)
        if names or reset_classes or settings:
            raise UsageError("--classes, --names and --set are for a network: a backbone takes none of it.")
        return _backbone(file, naming, decimate)
    except FileError as error:
        raise CheckpointError(f"{path} {error}.") from None
    except MemoryError:
        raise CheckpointError(f"{path} does not fit into memory.") from None


def _backbone(file: WeightsFile, naming: Naming, decimate: bool) -> Imported:
    """What is behind ``backbone.``, and fc6 and fc7 of a VGG."""
    parts = {key: naming.settings[key] for key in BACKBONE_SETTINGS if key in naming.settings}
    parts["head"] = "largefov" if parts["backbone"] == "vgg16" and decimate else "fcn"
    if parts["head"] == naming.settings.get("head"):
        parts["head_channels"] = naming.settings.get("head_channels")  # the width that the file has, if it says so
    network = build_network(NetworkConfig(classes=2, **parts))
    found = match(file, naming, network, [name for name in network.shapes() if _belongs(name, parts["head"])])
    metadata = {"kind": BACKBONE, "weights": parts, **_origin(found)}
    return Imported("backbone", found, found.params, metadata)


def _belongs(name: str, head: str) -> bool:
    return name.startswith("backbone.") or (head == "largefov" and name.startswith(("head.fc6.", "head.fc7.")))


def _network(
    file: WeightsFile, naming: Naming, names: str | None, reset_classes: bool, settings: Sequence[str]
) -> Imported:
    if not naming.holds_network:
        raise UsageError(f"{file.path} holds a backbone and no whole network: import it with --as backbone.")
    if reset_classes and names is None:
        raise UsageError("--classes reset starts the classifiers anew: name the new classes by --names.")
    classes, palette, guessed = _classes(file, naming, names, reset_classes)
    for setting in settings:
        if not setting.startswith("network.") or setting.startswith("network.weights"):
            raise UsageError(f"--set tells what the network is, network.KEY=VALUE; got {setting!r}.")
    tree = {key: value for key, value in naming.settings.items() if key != "classes"}
    name = file.path.stem.encode(errors="replace").decode()
    config = described_config({"name": name, "network": tree}, settings)
    network = build_network(config.network_config(len(classes)))
    found = match(file, naming, network)
    if found.untouched:
        raise FileError(
            f"has nothing for {', '.join(found.untouched)}: import it with --as backbone, or train from it"
        )
    if reset_classes:
        classifiers = tuple(name for name in found.params if is_classifier(name))
        kept = {name: value for name, value in found.params.items() if name not in classifiers}
        found = replace(found, params=kept, reset=found.reset + classifiers)
    metadata = {
        "kind": "model", "config": config.model_dump(mode="json", exclude_none=True), "classes": list(classes),
        "palette": palette.tolist(), **_origin(found),
    }  # fmt: skip
    arrays = found.params
    if found.missing or found.reset:
        arrays = network.initialise(config.training.seed) | arrays
    notes = () if settings else naming.notes  # who sets something knows what the file does not tell
    return Imported("network", found, arrays, metadata, (*notes, *guessed))


def is_classifier(name: str) -> bool:
    """Whether a parameter's size depends on the number of classes.

    >>> is_classifier("head.position.classifier.weight"), is_classifier("head.fc7.weight")
    (True, False)
    """
    return name.rpartition(".")[0].endswith(("classifier", "head.fc8"))


def _classes(
    file: WeightsFile, naming: Naming, names: str | None, reset: bool
) -> tuple[tuple[str, ...], np.ndarray, tuple[str, ...]]:
    """Names, colours, and what should be said of them."""
    count = naming.settings["classes"]
    if not 2 <= count <= IGNORE_LABEL:
        raise FileError(f"tells {count} classes apart, and 2 to {IGNORE_LABEL} can be told apart in a mask")
    if names is not None:
        listed = named_classes(names)
        classes, palette = listed.names, listed.palette
        if len(classes) != count and not reset:
            raise UsageError(
                f"{file.path} tells {count} classes apart, and {names} has {len(classes)}: give other --names, or "
                "--classes reset to start the classifiers anew."
            )
        return classes, palette, ()
    said = _said_classes(file, count)
    if said is not None:
        return *said, ()
    guess = guess_classes(count)
    if guess is None:
        unnamed = tuple(f"class {index}" for index in range(count))
        note = f"Nothing says what the {count} classes are: name them by --names."
        return unnamed, default_palette(count), (note,)
    listed = named_classes(guess)
    note = f"{count} classes are taken for those of {guess}: --names says otherwise."
    return listed.names, listed.palette, (note,)


def _said_classes(file: WeightsFile, count: int) -> Classes | None:
    """Classes and colours that stand in the file itself: mmsegmentation's ``meta``, or our own metadata."""
    meta = file.extra.get("meta", file.extra.get(KEY))
    if isinstance(meta, str):
        with suppress(ValueError, RecursionError):
            meta = json.loads(meta)
    if not isinstance(meta, Mapping):
        return None
    inner = meta.get("dataset_meta", meta)
    said = inner if isinstance(inner, Mapping) else {}
    classes = said.get("classes", said.get("CLASSES"))
    palette = said.get("palette", said.get("PALETTE"))
    if not isinstance(classes, list) or len(classes) != count or not all(map(_is_class_name, classes)):
        return None
    if len(set(classes)) != count:
        return None
    coloured = isinstance(palette, list) and len(palette) == count and all(map(_is_colour, palette))
    return tuple(classes), np.array(palette, np.uint8) if coloured else default_palette(count)


def _is_class_name(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and 0 < len(name) <= LONGEST_CLASS


def _is_colour(colour: object) -> bool:
    """Looked at one by one: an array of lists in lists in lists could be of any size."""
    return isinstance(colour, list) and len(colour) == 3 and all(type(v) is int and 0 <= v <= 255 for v in colour)


def _origin(found: Match) -> dict[str, Any]:
    """Where the weights came from."""
    return {
        "imported": {
            "file": found.file.path.name,
            "sha256": hashlib.sha256(found.file.path.read_bytes()).hexdigest(),
            "layout": found.naming.layout,
            "notes": list(found.naming.notes),
        }
    }
