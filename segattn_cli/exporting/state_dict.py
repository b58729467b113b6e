"""A trained network with the names and shapes of PyTorch: the inverse of ``segattn weights import``.

``safetensors.torch.load_file`` gives the dict that ``load_state_dict`` takes. Reading it back gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from segattn_cli.config import NetworkSection
from segattn_cli.errors import UsageError
from segattn_cli.files import write_atomically
from segattn_cli.json_text import json_text
from segattn_cli.runs import Model
from segattn_cli.weights.layouts import danet_release, mmseg, pytorch, torchvision_resnet, torchvision_vgg
from segattn_cli.weights.names import BACKBONE_SETTINGS, Naming, to_pytorch

LAYOUTS = ("danet", "mmseg", "torchvision", "pytorch")


def write_state_dict(model: Model, out: Path, layout: str = "auto") -> tuple[str, dict[str, np.ndarray]]:
    """Write the parameters of ``model`` to ``out``; returns the layout and what was written.

    Args:
        layout: ``danet`` and ``mmseg``: the names of a DANet in its authors' code and in mmsegmentation;
            ``torchvision``: the backbone alone, as torchvision names it; ``pytorch``: our names of everything.
            ``auto`` is ``danet`` where that names every parameter, else ``pytorch``.

    Raises:
        UsageError: for a layout that has no names for this network.
        OutputError: where ``out`` cannot be written.
    """
    from safetensors.numpy import save

    network = model.config.network
    chosen = layout
    if layout == "auto":
        chosen = "danet" if _misfit("danet", network) is None else "pytorch"
    misfit = _misfit(chosen, network)
    if misfit is not None:
        raise UsageError(f"--layout {chosen} has no names for {misfit}: take --layout pytorch.")
    naming = Naming(chosen, {}, _renames(chosen, network))
    arrays = {
        theirs: np.array(_shaped(chosen, array), order="C")
        for ours, array in model.params.items()
        if (theirs := naming.theirs(ours)) is not None
    }
    write_atomically(out, save(arrays, _metadata(model, chosen)))
    return chosen, arrays


def _misfit(layout: str, network: NetworkSection) -> str | None:
    """What of the network ``layout`` has no names for."""
    if layout == "pytorch":
        return None
    if network.backbone == "tiny" or (layout != "torchvision" and not network.backbone.startswith("resnet")):
        return f"the backbone {network.backbone}"
    if layout == "torchvision":
        return None
    if network.head != "dual":
        return f"the head {network.head}"
    if network.decoder:
        return "a decoder"
    if len(network.scales) > 1:
        return "several scales"
    if layout == "mmseg" and network.backbone in ("resnet18", "resnet34"):
        return f"this {network.backbone}, whose blocks mmsegmentation dilates otherwise"
    if layout == "danet" and network.auxiliary_head:
        return "an auxiliary head"
    return None


def _renames(layout: str, network: NetworkSection) -> Mapping[str, str]:
    if layout == "pytorch":
        return {"": ""}
    if layout == "torchvision":
        return torchvision_vgg.BACKBONE if network.backbone == "vgg16" else {"backbone": ""}
    if layout == "danet":
        return {"backbone": "pretrained", **danet_release.HEAD}
    stem = torchvision_resnet.STEM_V1C if network.deep_stem else {}
    return {"backbone": "backbone", **{ours: f"backbone.{theirs}" for ours, theirs in stem.items()}, **mmseg.HEAD}


def _shaped(layout: str, array: np.ndarray) -> np.ndarray:
    """PyTorch's shape; a gate has one element in the authors' code and no axis elsewhere."""
    return array.reshape(1) if layout == "danet" and array.ndim == 0 else to_pytorch(array)


def _metadata(model: Model, layout: str) -> dict[str, str]:
    """What no tensor tells: safetensors keeps strings."""
    parts = model.config.network.parts()
    if layout == "torchvision":
        return {pytorch.KEY: json_text({key: parts[key] for key in BACKBONE_SETTINGS})}
    meta = {"classes": list(model.classes), "palette": model.palette.tolist()}
    return {pytorch.KEY: json_text({**parts, "classes": len(model.classes)}), "meta": json_text(meta)}
