"""A file of weights for a network that is there already."""

from __future__ import annotations

from pathlib import Path

from reference.networks import Network
from segattn_cli.errors import CheckpointError
from segattn_cli.runs import checkpoint_of
from segattn_cli.weights.layouts import naming_of
from segattn_cli.weights.matching import Match, match
from segattn_cli.weights.reading import read_weights
from segattn_cli.weights.tensors import FileError


def weights_for(network: Network, path: Path | str, layout: str = "auto") -> Match:
    """What the file ``path``, or the best checkpoint of the run in that folder, has for ``network``.

    Raises :class:`CheckpointError` for a file that cannot be read, has names that nobody knows, or fits by half.
    """
    path = checkpoint_of(Path(path))  # a run's folder means its best
    file = read_weights(path)
    try:
        return match(file, naming_of(file, layout), network)
    except FileError as error:
        raise CheckpointError(f"{path} {error}.") from None
