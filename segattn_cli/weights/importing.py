"""Import of a file of weights: the checkpoint of a backbone or of a whole network, by our names and shapes."""

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
from segattn_cli.config import config_from
from segattn_cli.data import IGNORE_LABEL, default_palette
from segattn_cli.data.formats.class_lists import guess_classes, named_classes
from segattn_cli.errors import UsageError, counted
from segattn_cli.runs import BACKBONE
from segattn_cli.runs.checkpoint import KEY
from segattn_cli.weights.layouts import naming_of
from segattn_cli.weights.matching import Match, match
from segattn_cli.weights.names import BACKBONE_SETTINGS, Naming
from segattn_cli.weights.reading import WeightsFile, read_weights
from segattn_cli.weights.tensors import FileError, errors_of

LONGEST_CLASS = 100  # letters
Kind = Literal["backbone", "network"]
Classes = tuple[tuple[str, ...], np.ndarray]  # names, colours


@dataclass(frozen=True)
class Imported:
    """A checkpoint made of a file of weights, ready for :func:`segattn_cli.runs.checkpoint.save_checkpoint`.

    Args:
        notes: sentences for the user about what was assumed.
    """

    kind: Kind
    match: Match
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]
    notes: tuple[str, ...] = ()


def import_weights(
    path: Path | str, *, kind: Kind | None = None, layout: str = "auto", names: str | None = None,
    reset_classes: bool = False, decimate: bool = True, settings: Sequence[str] = (),
) -> Imported:
    """Read ``path`` and translate its arrays to our names and shapes.

    Args:
        kind: ``"network"`` makes a checkpoint that predicts, ``"backbone"`` one to train from; by default whatever
            the file holds.
        layout: the tool whose names the file has, a key of :data:`segattn_cli.weights.layouts.LAYOUTS`, or
            ``auto``.
        names: the classes: a known data set, or a file with one name a line. By default those in the file, or else
            those of a known data set with as many.
        reset_classes: initialise the classifiers anew, for the classes ``names``.
        decimate: whether fc6 and fc7 of a VGG become those of DeepLab-LargeFOV; else they are left out.
        settings: ``"network.key=value"``, for settings that the file does not contain.

    Raises:
        CheckpointError: for a file that cannot be read, or that does not fit the network that it describes.
        UsageError: for a network where the file holds a backbone, and for classes that do not fit.
    """
    file = read_weights(path)
    with errors_of(path):
        naming = naming_of(file, layout)
        if (kind or ("network" if naming.holds_network else BACKBONE)) == "network":
            return _network(file, naming, names, reset_classes, settings)
        if names or reset_classes or settings:
            raise UsageError("--classes, --names and --set are for a network: a backbone takes none of them.")
        return _backbone(file, naming, decimate)


def _backbone(file: WeightsFile, naming: Naming, decimate: bool) -> Imported:
    """The parameters of the backbone, and fc6 and fc7 of a VGG."""
    settings = {key: naming.settings[key] for key in BACKBONE_SETTINGS if key in naming.settings}
    settings["head"] = "largefov" if settings["backbone"] == "vgg16" and decimate else "fcn"
    if settings["head"] == naming.settings.get("head"):
        settings["head_channels"] = naming.settings.get("head_channels")
    network = build_network(NetworkConfig(classes=2, **settings))
    prefixes = ("backbone.", "head.fc6.", "head.fc7.") if settings["head"] == "largefov" else ("backbone.",)
    matched = match(file, naming, network, [name for name in network.shapes() if name.startswith(prefixes)])
    metadata = {"kind": BACKBONE, "weights": settings, **_origin(matched)}
    return Imported("backbone", matched, matched.params, metadata)


def _network(
    file: WeightsFile, naming: Naming, names: str | None, reset_classes: bool, settings: Sequence[str]
) -> Imported:
    if not naming.holds_network:
        raise UsageError(f"{file.path} holds a backbone and no whole network: import it with --as backbone.")
    if reset_classes and names is None:
        raise UsageError("--classes reset starts the classifiers anew: name the new classes by --names.")
    (classes, palette), assumed = _classes(file, naming, names, reset_classes)
    for setting in settings:
        if not setting.startswith("network.") or setting.startswith("network.weights"):
            raise UsageError(f"--set takes settings of the network here, network.KEY=VALUE; got {setting!r}.")
    tree = {key: value for key, value in naming.settings.items() if key != "classes"}
    name = file.path.stem.encode(errors="replace").decode()
    config = config_from({"name": name, "network": tree}, settings)
    network = build_network(config.network_config(len(classes)))
    matched = match(file, naming, network)
    if matched.missing_parts:
        raise FileError(
            f"has nothing for {', '.join(matched.missing_parts)}: import it with --as backbone, or train from it"
        )
    if reset_classes:
        classifiers = tuple(name for name in matched.params if is_classifier(name))
        others = {name: value for name, value in matched.params.items() if name not in classifiers}
        matched = replace(matched, params=others, reset=matched.reset + classifiers)
    metadata = {
        "kind": "model", "config": config.model_dump(mode="json", exclude_none=True), "classes": list(classes),
        "palette": palette.tolist(), **_origin(matched),
    }  # fmt: skip
    arrays = matched.params
    if matched.missing or matched.reset:
        arrays = network.initialise(config.training.seed) | arrays
    notes = () if settings else naming.notes  # --set shows that the user knows what the file does not contain
    return Imported("network", matched, arrays, metadata, (*notes, *assumed))


def is_classifier(name: str) -> bool:
    """Whether a parameter's size depends on the number of classes.

    >>> is_classifier("head.position.classifier.weight"), is_classifier("head.fc7.weight")
    (True, False)
    """
    return name.rpartition(".")[0].endswith(("classifier", "head.fc8"))


def _classes(file: WeightsFile, naming: Naming, names: str | None, reset: bool) -> tuple[Classes, tuple[str, ...]]:
    """The classes, and notes on what was assumed about them."""
    count = naming.settings["classes"]
    if not 2 <= count <= IGNORE_LABEL:
        raise FileError(f"has {counted(count, 'class')}, and a mask can hold 2 to {IGNORE_LABEL}")
    if names is not None:
        named = named_classes(names)
        if len(named.names) != count and not reset:
            raise UsageError(
                f"{file.path} has {count} classes, and {names} has {len(named.names)}: give other --names, or "
                "--classes reset to start the classifiers anew."
            )
        return (named.names, named.palette), ()
    stored = _stored_classes(file, count)
    if stored is not None:
        return stored, ()
    guess = guess_classes(count)
    if guess is None:
        unnamed = tuple(f"class {index}" for index in range(count))
        note = f"The file does not name its {count} classes: name them by --names."
        return (unnamed, default_palette(count)), (note,)
    known = named_classes(guess)
    note = f"{count} classes are taken for those of {guess}: --names says otherwise."
    return (known.names, known.palette), (note,)


def _stored_classes(file: WeightsFile, count: int) -> Classes | None:
    """Names and colours in the file itself: in mmsegmentation's ``meta``, or in our own metadata."""
    meta = file.extra.get("meta", file.extra.get(KEY))
    if isinstance(meta, str):
        with suppress(ValueError, RecursionError):
            meta = json.loads(meta)
    meta = meta.get("dataset_meta", meta) if isinstance(meta, Mapping) else None
    if not isinstance(meta, Mapping):
        return None
    classes = meta.get("classes", meta.get("CLASSES"))
    palette = meta.get("palette", meta.get("PALETTE"))
    if not isinstance(classes, list) or len(classes) != count or not all(map(_is_class_name, classes)):
        return None
    if len(set(classes)) != count:
        return None
    coloured = isinstance(palette, list) and len(palette) == count and all(map(_is_colour, palette))
    return tuple(classes), np.array(palette, np.uint8) if coloured else default_palette(count)


def _is_class_name(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and 0 < len(name) <= LONGEST_CLASS


def _is_colour(colour: object) -> bool:
    """Whether ``colour`` is [red, green, blue], before NumPy converts it: nested lists may be huge."""
    return isinstance(colour, list) and len(colour) == 3 and all(type(v) is int and 0 <= v <= 255 for v in colour)


def _origin(matched: Match) -> dict[str, Any]:
    """The file that the weights come from, for the checkpoint's metadata."""
    return {
        "imported": {
            "file": matched.file.path.name,
            "sha256": hashlib.sha256(matched.file.path.read_bytes()).hexdigest(),
            "layout": matched.naming.layout,
            "notes": list(matched.naming.notes),
        }
    }
