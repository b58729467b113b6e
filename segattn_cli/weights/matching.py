"""Matching of a network's parameters with a file's tensors: a part of a network is in a file as a whole, or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from reference.networks import Network, NetworkConfig
from segattn_cli.runs import checkpoint_of
from segattn_cli.weights.layouts import naming_of
from segattn_cli.weights.layouts.segattn import is_training_state
from segattn_cli.weights.names import BACKBONE_SETTINGS, Naming, Shape
from segattn_cli.weights.reading import WeightsFile, read_weights
from segattn_cli.weights.tensors import FileError, errors_of

#: PyTorch's count of the batches that a batch norm has seen, which nothing here uses.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Match:
    """What a file holds for a network.

    Args:
        params: the arrays by our names, float32 and channels last.
        missing: our parameters that the file does not hold.
        reset: our parameters of classifiers, which the file holds for another number of classes.
        unused: the file's tensors that the network does not have.
    """

    file: WeightsFile
    naming: Naming
    params: dict[str, np.ndarray]
    missing: tuple[str, ...]
    reset: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def missing_parts(self) -> tuple[str, ...]:
        """The parts of the network that the file does not hold at all."""
        missing = {part_of(name) for name in self.missing}
        return tuple(sorted(missing - {part_of(name) for name in self.params}))


def weights_for(network: Network, path: Path | str, layout: str = "auto") -> Match:
    """Match ``network`` with the file ``path``, or with the best checkpoint of the run in that folder.

    Raises :class:`CheckpointError` for a file that cannot be read, has unknown names, or does not fit.
    """
    path = checkpoint_of(Path(path))
    file = read_weights(path)
    with errors_of(path):
        return match(file, naming_of(file, layout), network)


def match(file: WeightsFile, naming: Naming, network: Network, wanted: Iterable[str] | None = None) -> Match:
    """Find a tensor of ``file`` for each parameter of ``network``, or for those that are ``wanted``.

    Classifiers of another number of classes are left out, to be trained anew.

    Raises:
        FileError: for another backbone, a part that is incomplete, and values that are not finite.
    """
    _require_same_backbone(naming, network.config)
    shapes = network.shapes()
    params: dict[str, np.ndarray] = {}
    missing, reset, used = [], [], set()
    for ours in shapes if wanted is None else wanted:
        counterpart = _counterpart(ours, naming, network.config)
        theirs = None if counterpart is None else naming.theirs(counterpart)
        if theirs is None or theirs not in file.tensors:
            missing.append(ours)
            continue
        used.add(theirs)
        tensor, shape = file.tensors[theirs], shapes[ours]
        array = _converted(naming, ours, tensor.values, shape)
        if array is not None and _has_other_classes(array.shape, shape, network.config.classes):
            reset.append(ours)
            continue
        if array is None or array.shape != shape:
            raise FileError(
                f"has {theirs} of shape {tensor.shape}, which does not fit {ours} of shape {shape}: "
                "it is of another network"
            )
        params[ours] = np.ascontiguousarray(tensor._replace(values=array).as_float32()).reshape(shape)
        if not np.isfinite(params[ours]).all():
            raise FileError(f"holds a NaN or an infinity in {theirs}")
        if ours.endswith(".running_var") and params[ours].min() < 0:
            raise FileError(f"holds a negative variance in {theirs}")
    modules = {name.rpartition(".")[0] for name in reset}
    for name in [name for name in params if name.rpartition(".")[0] in modules]:  # a bias whose size fits by chance
        del params[name]
        reset.append(name)
    _require_whole_parts(naming, [*params, *reset], missing)
    unused = [
        name
        for name in file.tensors
        if name not in used and not name.endswith(COUNTER) and not is_training_state(name, naming)
    ]
    return Match(file, naming, params, tuple(missing), tuple(reset), tuple(unused))


def part_of(name: str) -> str:
    """The part of a network that a parameter belongs to, which a file holds as a whole or not at all.

    >>> [part_of(name) for name in ("backbone.bn1.bias", "head.position.gate", "head.classifier.bias")]
    ['backbone', 'head.position', 'head.classifier']
    """
    parts = name.split(".")
    if parts[0] != "head":
        return parts[0]
    return "head.fc6 and fc7" if parts[1] in ("fc6", "fc7") else ".".join(parts[:2])


def summary(names: tuple[str, ...], most: int = 4) -> str:
    """Names of parameters, grouped by module and shortened.

    >>> summary(("fc.weight", "fc.bias", "bn1.weight"))
    'fc (2), bn1.weight'
    """
    modules = [(key, list(group)) for key, group in groupby(names, lambda name: name.rpartition(".")[0])]
    entries = [f"{module} ({len(group)})" if len(group) > 1 else group[0] for module, group in modules]
    return ", ".join(entries[:most]) + (f" and {len(entries) - most} more" if len(entries) > most else "")


def _converted(naming: Naming, ours: str, array: np.ndarray, shape: Shape) -> np.ndarray | None:
    """The array in our layout; None where its number of axes does not fit."""
    try:
        return naming.convert(ours, array, shape)
    except (ValueError, TypeError, IndexError):
        return None


def _counterpart(ours: str, naming: Naming, config: NetworkConfig) -> str | None:
    """The parameter of the file's network that corresponds to ours, by our names; None where there is none.

    Heads of two kinds, and the fusions of different scales, use one name for different things. The classifier of a
    head with one attention corresponds to that of the same branch in a dual head.
    """
    settings = naming.settings
    part = ours.split(".")[0]
    same_scales = tuple(settings.get("scales", ())) == config.scales
    if part == "head" and settings.get("head") != config.head:
        if settings.get("head") != "dual" or config.head not in ("position", "channel"):
            return None
        return ours.replace("head.classifier", f"head.{config.head}.classifier")
    if part == "scale_attention" and not same_scales:
        return None
    if part == "scale_classifier" and not (same_scales and settings.get("classes") == config.classes):
        return None
    return ours


def _has_other_classes(got: Shape, wanted: Shape, classes: int) -> bool:
    """Whether two shapes differ in their last axis alone, which is that of the classes."""
    return got != wanted and len(got) == len(wanted) > 0 and got[:-1] == wanted[:-1] and wanted[-1] == classes


def _require_same_backbone(naming: Naming, config: NetworkConfig) -> None:
    for key in BACKBONE_SETTINGS:
        wanted = getattr(config, key)
        got = naming.settings.get(key, getattr(NetworkConfig, key))
        if got != wanted and (key != "stem_channels" or config.deep_stem):
            raise FileError(
                f"has network.{key} = {got}, and the network has {wanted}: choose other weights, or "
                f"--set network.{key}={str(got).lower()}"
            )


def _require_whole_parts(naming: Naming, present: list[str], missing: list[str]) -> None:
    parts = {part_of(name) for name in present}
    if not parts:
        raise FileError("has nothing that the network could use")
    for name in missing:
        if part_of(name) in parts:
            others = sum(part_of(each) == part_of(name) for each in missing) - 1
            more = f", and {others} more" if others else ""
            raise FileError(f"has only a part of {part_of(name)}: {naming.theirs(name) or name} is missing{more}")
