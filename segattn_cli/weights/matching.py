"""Which parameter of a network gets which tensor of a file, and that nothing is taken by half."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from reference.networks import Network
from segattn_cli.weights.layouts.own import is_training_state
from segattn_cli.weights.names import BACKBONE_SETTINGS, Naming, Shape
from segattn_cli.weights.reading import WeightsFile
from segattn_cli.weights.tensors import FileError

#: PyTorch counts the batches that a norm has seen; nobody needs the number.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Match:
    """What a file has for a network.

    ``params`` has the arrays by our names, float32 and channels last; ``missing`` are our parameters that the file
    has not, ``reset`` those of classifiers that it has for another number of classes, ``unused`` the tensors of
    the file that nothing here wants.
    """

    file: WeightsFile
    naming: Naming
    params: dict[str, np.ndarray]
    missing: tuple[str, ...]
    reset: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def untouched(self) -> tuple[str, ...]:
        """The parts of the network of which nothing is in the file."""
        missing = {part_of(name) for name in self.missing}
        return tuple(sorted(missing - {part_of(name) for name in self.params}))


def part_of(name: str) -> str:
    """The part of a network that a parameter belongs to: what a file has as a whole or not at all.

    >>> [part_of(name) for name in ("backbone.bn1.bias", "head.position.gate", "head.classifier.bias")]
    ['backbone', 'head.position', 'head.classifier']
    """
    parts = name.split(".")
    if parts[0] != "head":
        return parts[0]
    return "head.fc6 and fc7" if parts[1] in ("fc6", "fc7") else ".".join(parts[:2])


def match(file: WeightsFile, naming: Naming, network: Network, wanted: Iterable[str] | None = None) -> Match:
    """Find a tensor of ``file`` for each parameter of ``network``, or for those that are ``wanted``.

    A part of the network is in the file as a whole, or missing as a whole; classifiers of another number of
    classes are left out, to be learnt anew.

    Raises:
        FileError: where the file is of another backbone, has a part by half, or holds values that are not finite.
    """
    _same_backbone(naming, network)
    params: dict[str, np.ndarray] = {}
    missing, reset, used = [], [], set()
    shapes = network.shapes()
    for ours in shapes if wanted is None else wanted:
        shape = shapes[ours]
        counterpart = _counterpart(ours, naming, network)
        theirs = None if counterpart is None else naming.theirs(counterpart)
        if theirs is None or theirs not in file.tensors:
            missing.append(ours)
            continue
        used.add(theirs)
        array = _converted(naming, ours, file.tensors[theirs].values, shape)
        if array is not None and _other_classes(array.shape, shape, network.config.classes):
            reset.append(ours)
            continue
        if array is None or array.shape != shape:
            raise FileError(
                f"has {theirs} of shape {file.tensors[theirs].shape}, which does not fit {ours} of shape {shape}: "
                "it is of another network"
            )
        tensor = file.tensors[theirs]._replace(values=array)
        params[ours] = np.ascontiguousarray(tensor.as_float32()).reshape(shape)
        if not np.isfinite(params[ours]).all():
            raise FileError(f"holds a NaN or an infinity in {theirs}")
        if ours.endswith(".running_var") and params[ours].min() < 0:
            raise FileError(f"holds a negative variance in {theirs}")
    modules = {name.rpartition(".")[0] for name in reset}
    for name in [name for name in params if name.rpartition(".")[0] in modules]:  # a bias of as many, by chance
        del params[name]
        reset.append(name)
    _nothing_by_half(naming, [*params, *reset], missing)
    unused = [
        name
        for name in file.tensors
        if name not in used and not name.endswith(COUNTER) and not is_training_state(name, naming)
    ]
    return Match(file, naming, params, tuple(missing), tuple(reset), tuple(unused))


def summary(names: tuple[str, ...], most: int = 4) -> str:
    """Names of parameters by their module, in short.

    >>> summary(("fc.weight", "fc.bias", "bn1.weight"))
    'fc (2), bn1.weight'
    """
    modules = [(key, list(group)) for key, group in groupby(names, lambda name: name.rpartition(".")[0])]
    said = [f"{module} ({len(group)})" if len(group) > 1 else group[0] for module, group in modules]
    return ", ".join(said[:most]) + (f" and {len(said) - most} more" if len(said) > most else "")


def _converted(naming: Naming, ours: str, array: np.ndarray, shape: Shape) -> np.ndarray | None:
    """The array in our form; None where it has not even the right number of axes."""
    try:
        return naming.convert(ours, array, shape)
    except (ValueError, TypeError, IndexError):
        return None


def _counterpart(ours: str, naming: Naming, network: Network) -> str | None:
    """What the file's network calls our parameter, in our own terms; None for what it cannot have.

    A head of another kind, or the fusion of other scales, has the same names for something else. The classifier of
    a single attention does what that branch's does in a dual head.
    """
    config, theirs = network.config, naming.settings
    part = ours.split(".")[0]
    if part == "head" and theirs.get("head") != config.head:
        if theirs.get("head") != "dual" or config.head not in ("position", "channel"):
            return None
        return ours.replace("head.classifier", f"head.{config.head}.classifier")
    if part == "scale_attention" and tuple(theirs.get("scales", ())) != config.scales:
        return None
    if part == "scale_classifier":
        same = tuple(theirs.get("scales", ())) == config.scales and theirs.get("classes") == config.classes
        return ours if same else None
    return ours


def _other_classes(got: Shape, wanted: Shape, classes: int) -> bool:
    return got != wanted and len(got) == len(wanted) > 0 and got[:-1] == wanted[:-1] and wanted[-1] == classes


def _same_backbone(naming: Naming, network: Network) -> None:
    config = network.config
    for key in BACKBONE_SETTINGS:
        wanted = getattr(config, key)
        got = naming.settings.get(key, type(config).__dataclass_fields__[key].default)
        if got != wanted and (key != "stem_channels" or config.deep_stem):
            raise FileError(
                f"has network.{key} = {got}, and the network has {wanted}: choose other weights, or "
                f"--set network.{key}={str(got).lower()}"
            )


def _nothing_by_half(naming: Naming, found: list[str], missing: list[str]) -> None:
    parts = {part_of(name) for name in found}
    if not parts:
        raise FileError("has nothing that the network could use")
    for name in missing:
        if part_of(name) in parts:
            alike = sum(part_of(each) == part_of(name) for each in missing)
            more = f", and {alike - 1} more" if alike > 1 else ""
            raise FileError(f"has only a part of {part_of(name)}: {naming.theirs(name) or name} is missing{more}")
