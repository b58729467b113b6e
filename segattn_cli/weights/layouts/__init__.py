"""Whose names a file has: one module for each layout, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from segattn_cli.weights.layouts import danet, mmseg, own, pytorch, resnet, vgg
from segattn_cli.weights.names import Naming
from segattn_cli.weights.reading import WeightsFile
from segattn_cli.weights.tensors import FileError

#: Layout → what finds its names in a file, or gives None.
LAYOUTS: Mapping[str, tuple[Callable[[WeightsFile], Naming | None], ...]] = {
    "segattn": (own.recognise,),
    "danet": (danet.recognise,),
    "mmseg": (mmseg.recognise,),
    "pytorch": (pytorch.recognise,),
    "torchvision": (resnet.recognise, vgg.recognise),
}


def naming_of(file: WeightsFile, layout: str = "auto") -> Naming:
    """Whose names ``file`` has.

    Raises:
        FileError: where they are not those of ``layout``, or, with ``auto``, of nobody known.
    """
    empty = next((name for name, tensor in file.tensors.items() if not tensor.values.size), None)
    if empty is not None:
        raise FileError(f"has a tensor without numbers, {empty}")
    for known, recognisers in LAYOUTS.items():
        for recognise in recognisers:
            try:
                naming = recognise(file) if layout in ("auto", known) else None
            except IndexError:
                raise FileError(f"has the names of {known}, but not the shapes") from None
            if naming is not None:
                said = pytorch.said_settings(file) if naming.holds_network else None
                return naming if said is None else replace(naming, settings=said, notes=())
    names = ", ".join(list(file.tensors)[:4])
    wanted = f"those of {layout}" if layout != "auto" else f"in a layout that is known ({', '.join(LAYOUTS)})"
    raise FileError(f"has names that are not {wanted}: it begins with {names}")
