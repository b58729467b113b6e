"""Explanations as PNG and NPZ files, for papers and notebooks."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from segattn_cli.errors import OutputError
from segattn_cli.explaining.channels import ChannelView
from segattn_cli.explaining.drawings import Drawing, Point, all_drawings, overview
from segattn_cli.explaining.explanation import Explanation
from segattn_cli.explaining.positions import PositionView
from segattn_cli.files import write_atomically

Arrays = dict[str, np.ndarray]


def write_drawings(
    explanation: Explanation, folder: Path, classes: Sequence[str], palette: np.ndarray,
    points: Sequence[Point] = (),
) -> list[Path]:
    """Every map of ``explanation`` as a PNG in ``folder``, which is made; the files, in the order of the list.

    ======================================================  ======================================================
    ``prediction``                                          the classes, with a legend
    ``position-row-X-Y``, ``position-column-X-Y``           of each of ``points`` that lies in the image: whom it
                                                            attends to, who attends to it
    ``position-received``, ``position-reach``,              sums of columns; exp(entropy) of rows; how much the
    ``position-gate``                                       attention adds to the features
    ``channel-map``, ``channel-features``                   the map, like channels together; those that matter most
    ``scale-weight-S``, ``scale-winner``                    where attention fuses scales
    ``experiment-NAME``                                     the pixels whose class changes
    ======================================================  ======================================================

    Of a network of several scales, those of the first four lines end in ``-scale-S``, except for the prediction.

    Raises:
        OutputError: where the folder cannot be made or written to.
    """
    return _write(folder, all_drawings(explanation, classes, palette, points))


def write_overview(explanation: Explanation, folder: Path) -> list[Path]:
    """The maps that need no chosen pixel, as ``folder/position-received.png`` and so on; none without attention."""
    return _write(folder, overview(explanation))


def write_arrays(path: Path, explanations: Sequence[Explanation], points: Sequence[Point] = ()) -> None:
    """The :func:`arrays` of all ``explanations`` as one NPZ file, each under ``<name of the image>/``.

    ``np.load(path)`` opens it; nothing in it is a pickle.

    Raises:
        OutputError: where the file cannot be written.
    """
    named = {f"{each.name}/{key}": array for each in explanations for key, array in arrays(each, points).items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **named)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


def arrays(explanation: Explanation, points: Sequence[Point] = ()) -> Arrays:
    """What a notebook may want to compute with; labels are uint8, all else that is no index is float32.

    ==================================================  ==========================================================
    ``picture``, ``label``                              (H, W, 3) and (H, W): the image and its prediction
    ``own_size``                                        (2,): height and width of the image before it was resized
    ``position/scale-S/query``, ``…/key``               (N, D): the map is ``softmax(query @ key.T)``, rows queries
    ``…/log_sum_exp``                                   (N,): one row is ``exp(query[j] @ key.T − log_sum_exp[j])``
    ``…/received``, ``…/reach``, ``…/shares``           (h, w): sums of columns, exp(entropy) of rows, ‖α·S·D‖ / ‖A‖
    ``…/gate``                                          (): α
    ``…/points``                                        (P, 2): those of ``points`` (x, y) that lie in the image
    ``…/rows``, ``…/columns``                           (P, h, w): whom each attends to, who attends to it
    ``channel/scale-S/attention``                       (C, C): rows = queries
    ``…/order``                                         (C,): channels of similar maps side by side
    ``…/features``, ``…/step``                          (h', w', C): A at every step-th position; ()
    ``…/label``, ``…/without``                          (h', w') and (C, h', w'): the class; the class without
                                                        channel c, or 255 where it is the same
    ``…/gate``                                          (): β
    ``scale/scales``, ``scale/labels``                  (S,); (S, H, W): what each scale predicts by itself
    ``scale/weights``                                   (h, w, S), adding to 1; only where attention fuses
    ``experiment/NAME``                                 (H, W): the prediction in an experiment
    ==================================================  ==========================================================
    """
    own_size = np.array(explanation.own_size, np.int32)
    named: Arrays = {"picture": explanation.image, "label": explanation.label, "own_size": own_size}
    for view in explanation.positions:
        named |= _under(f"position/scale-{view.scale:g}", _of_positions(explanation, view, points))
    for channels in explanation.channels:
        named |= _under(f"channel/scale-{channels.scale:g}", _of_channels(channels))
    if explanation.scales is not None:
        named |= {"scale/scales": _float32(explanation.scales.scales), "scale/labels": explanation.scales.labels}
        if explanation.scales.weights is not None:
            named["scale/weights"] = _float32(explanation.scales.weights)
    return named | {f"experiment/{each.name}": each.label for each in explanation.experiments}


def _of_positions(explanation: Explanation, view: PositionView, points: Sequence[Point]) -> Arrays:
    inside = {point: at for point in points if (at := explanation.fractions_of(point)) is not None}
    pixels = [view.pixel_at(*at) for at in inside.values()]
    return {
        "query": _float32(view.query),
        "key": _float32(view.key),
        "log_sum_exp": _float32(view.log_sum_exp),
        "received": _float32(view.received),
        "reach": _float32(view.reach),
        "shares": _float32(view.fractions),
        "gate": _float32(view.gate),
        "points": np.array(list(inside), np.int32).reshape(-1, 2),
        "rows": _float32([view.row(pixel) for pixel in pixels]).reshape(-1, *view.grid),
        "columns": _float32([view.column(pixel) for pixel in pixels]).reshape(-1, *view.grid),
    }


def _of_channels(view: ChannelView) -> Arrays:
    return {
        "attention": _float32(view.attention),
        "order": view.order.astype(np.int32),
        "features": _float32(view.features),
        "step": np.array(view.step, np.int32),
        "label": view.label,
        "without": view.without,
        "gate": _float32(view.gate),
    }


def _under(folder: str, named: Arrays) -> Arrays:
    return {f"{folder}/{key}": array for key, array in named.items()}


def _float32(values: object) -> np.ndarray:
    return np.asarray(values, np.float32)


def _write(folder: Path, drawings: Iterable[Drawing]) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}. Choose another folder.") from None
    written = []
    for name, png in drawings:
        written.append(folder / f"{name}.png")
        write_atomically(written[-1], png)
    return written
