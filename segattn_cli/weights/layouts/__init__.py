"""Names of parameters in other tools: a module for each layout, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from segattn_cli.weights.layouts import danet_release, mmseg, pytorch, segattn, torchvision_resnet, torchvision_vgg
from segattn_cli.weights.names import Naming
from segattn_cli.weights.reading import WeightsFile
from segattn_cli.weights.tensors import FileError

#: Layout → functions that recognise its names in a file; they return None for other names.
LAYOUTS: Mapping[str, tuple[Callable[[WeightsFile], Naming | None], ...]] = {
    "segattn": (segattn.recognise,),
    "danet": (danet_release.recognise,),
    "mmseg": (mmseg.recognise,),
    "pytorch": (pytorch.recognise,),
    "torchvision": (torchvision_resnet.recognise, torchvision_vgg.recognise),
}


def naming_of(file: WeightsFile, layout: str = "auto") -> Naming:
    """The naming of the tensors in ``file``.

    Raises:
        FileError: for names that are not those of ``layout``, or, with ``auto``, of no known layout.
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
                stored = pytorch.stored_settings(file) if naming.holds_network else None
                return naming if stored is None else replace(naming, settings=stored, notes=())
    names = ", ".join(list(file.tensors)[:4])
    wanted = f"those of {layout}" if layout != "auto" else f"of a known layout ({', '.join(LAYOUTS)})"
    raise FileError(f"has names that are not {wanted}: it begins with {names}")
