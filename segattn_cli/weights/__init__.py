"""Weights of other tools: reading their files, and translating names and shapes into segattn's."""

from segattn_cli.weights.importing import Imported, import_weights
from segattn_cli.weights.layouts import LAYOUTS, naming_of
from segattn_cli.weights.matching import Match, summary, weights_for
from segattn_cli.weights.reading import WeightsFile, read_weights

__all__ = [
    "LAYOUTS",
    "Imported",
    "Match",
    "WeightsFile",
    "import_weights",
    "naming_of",
    "read_weights",
    "summary",
    "weights_for",
]
