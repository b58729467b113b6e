"""``{train-step}``: one step of training, every tensor as a picture, in order, with its gradient beside it.

The step is computed while the site is built, by the network that comes with segattn on one drawn scene.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Iterator
from html import escape
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from docutils import nodes
from network_pages import shape_text
from PIL import Image
from repository_files import link_to_file
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from backends import get_backend
from reference.layers import Context
from reference.layers.context import scoped_name
from reference.networks import Objective
from segattn_cli.costs.network_graph import network_graph
from segattn_cli.data.dataset import Sample
from segattn_cli.data.formats.scenes import PALETTE, SceneOptions, Scenes
from segattn_cli.data.normalise import normalise
from segattn_cli.runs import Model, open_model
from segattn_cli.runs.demo import DEMO

#: Colours of the largest positive and the largest negative number; 0 is white.
POSITIVE, NEGATIVE = (213, 94, 0), (0, 114, 178)
#: Of the numbers of a tensor, this fraction has colours that are not the strongest one.
SHOWN = 0.995
#: A mosaic is so much wider than high, and has at most so many pixels across on the page.
ASPECT, ACROSS = 2.2, 380


class Recorded(NamedTuple):
    """A tensor of the step."""

    name: str  # with the scale before it
    value: np.ndarray
    gradient: np.ndarray | None  # of the loss by the tensor; None where nothing after it needs one


class Step(NamedTuple):
    tensors: list[Recorded]
    loss: float
    parts: dict[str, float]
    gradients: dict[str, np.ndarray]  # by parameter


def record_step(
    model: Model, sample: Sample, dtype: Any = np.float32, change: Callable[[str, Any], Any] = lambda name, y: y
) -> Step:
    """Forward and backward of ``model`` on one image, with the norms and the dropout of training.

    ``change`` may replace a tensor before anything else is computed from it.
    """
    ops = _RecordingOps(get_backend("numpy"))
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {}

    class Recording(Context):
        def save(self, name: str, result: tuple[Any, Any]) -> Any:
            full_name = scoped_name(self.scope, name)
            values[full_name] = change(full_name, super().save(name, result))
            return values[full_name]

        def saved(self, name: str) -> Any:
            ops.tensor = scoped_name(self.scope, name)
            return super().saved(name)

    params = {name: value.astype(dtype) for name, value in model.params.items()}
    ctx = Recording(
        ops, params, save_for_backward=True, batch_statistics=True,
        draw_mask=lambda name, shape, rate: rng.random(shape) >= rate,
    )  # fmt: skip
    objective = Objective(model.network, model.config.loss, terms=model.config.loss)
    loss = objective.forward(normalise(sample.image)[None].astype(dtype), sample.label[None], ctx)
    gradients = objective.backward(ctx)
    tensors = [
        Recorded(name, np.asarray(value), _of_shape(np.shape(value), ops.gradients.get(name)))
        for name, value in values.items() if name != "loss"
    ]  # fmt: skip
    return Step(tensors, float(loss.total), {name: float(part) for name, part in loss.parts.items()}, gradients)


class _RecordingOps:
    """The ops of a backend; the first argument of a backward op is the gradient of the tensor taken back last."""

    def __init__(self, ops: Any) -> None:
        self._ops = ops
        self.tensor = ""
        self.gradients: dict[str, Any] = {}

    def __getattr__(self, op: str) -> Any:
        function = getattr(self._ops, op)
        if not op.endswith("_backward"):
            return function

        def backward(dy: Any, *arguments: Any, **options: Any) -> Any:
            self.gradients.setdefault(self.tensor, dy)
            return function(dy, *arguments, **options)

        return backward


def _of_shape(shape: tuple[int, ...], gradient: Any) -> np.ndarray | None:
    """The gradient, if it is that of the whole tensor: pooled maps are taken apart before they go back."""
    return None if gradient is None or np.shape(gradient) != shape else np.asarray(gradient)


class TrainStep(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(DEMO))
        model = open_model(DEMO)
        sample = Scenes("val", SceneOptions()).load(0)
        step = record_step(model, sample)
        height, width = sample.label.shape
        graph = network_graph(model.network, height, width)
        self.places = {node.name: node.place for node in graph}
        self.grids = {
            shape[0] * shape[1]: shape[:2]
            for node in graph for shape in node.shapes.values() if len(shape) == 3
        }  # fmt: skip
        parts = ", ".join(f"{name} {value:.3f}" for name, value in step.parts.items())
        slopes = ", ".join(
            f"{letter}′ = {float(step.gradients[f'head.{kind}.gate']):.4f}".replace("-", "−")
            for letter, kind in (("α", "position"), ("β", "channel"))
        )
        about = f"The loss of this step is {step.loss:.3f} (parts before their weights: {parts}). {slopes}."
        found: list[nodes.Node] = [nodes.paragraph("", about), _rows([_image_row(sample)])]
        for part, tensors in groupby(step.tensors, _part):
            found += [nodes.rubric("", part), _rows([self.row(each) for each in tensors])]
        return found

    def row(self, tensor: Recorded) -> str:
        name, place = tensor.name, self.places.get(tensor.name.rpartition("/")[2])
        label = f"<code>{escape(name)}</code>"
        if place is not None:
            label = f'<a href="{escape(link_to_file(self.env, place.file, place.line))}">{label}</a>'
        shape = shape_text(tensor.value.shape[1:]) if tensor.value.ndim > 1 else ""
        values = self.figure(tensor.value, name)
        gradient = "" if tensor.gradient is None else self.figure(tensor.gradient, f"gradient of {name}")
        return f'<div class="step-row"><p>{label} {shape}</p>{values}{gradient or "<span></span>"}</div>'

    def figure(self, values: np.ndarray, title: str) -> str:
        if values.ndim == 0:
            return f"<figure><figcaption>{_number(float(values))}</figcaption></figure>"
        extent = f"{_number(float(values.min()))} to {_number(float(values.max()))}"
        picture = _picture(mosaic(self.maps(values)), f"{title}: {extent}")
        return f"<figure>{picture}<figcaption>{extent}</figcaption></figure>"

    def maps(self, values: np.ndarray) -> np.ndarray:
        """The channels of one image as maps ``(C, h, w)``; tokens are put back to where they are in the image."""
        one = values[0] if values.shape[0] == 1 else values  # (S + 1, 1, K) of the scale classifier stays
        if one.ndim == 2 and one.shape[0] in self.grids:
            one = one.reshape(*self.grids[one.shape[0]], -1)
        if one.ndim == 3 and values.shape[0] == 1:
            return np.moveaxis(one, -1, 0)
        return one.reshape(1, -1, one.shape[-1])


def mosaic(maps: np.ndarray) -> np.ndarray:
    """The maps ``(C, h, w)`` beside and below each other, a pixel apart: -127 to 127, and -128 where there is none.

    >>> mosaic(np.array([[[0.0, 1.0]], [[-1.0, 0.5]]]))
    array([[   0,  127, -128, -127,   64]], dtype=int8)
    """
    count, height, width = maps.shape
    most = np.quantile(np.abs(maps), SHOWN) or np.abs(maps).max() or 1.0
    levels = np.rint(np.clip(maps / most, -1, 1) * 127).astype(np.int8)
    wanted = (ASPECT * count * (height + 1) / (width + 1)) ** 0.5
    across = min((n for n in range(1, count + 1) if count % n == 0), key=lambda n: abs(np.log(n / wanted)))
    down = count // across
    sheet = np.full((down * (height + 1) - 1, across * (width + 1) - 1), -128, np.int8)
    for number, level in enumerate(levels):
        y, x = number // across * (height + 1), number % across * (width + 1)
        sheet[y : y + height, x : x + width] = level
    return sheet


def _picture(sheet: np.ndarray, title: str) -> str:
    height, width = sheet.shape
    image = Image.fromarray((sheet.astype(np.int16) + 128).astype(np.uint8), "P")
    image.putpalette(list(_colours()))
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True, transparency=0)
    return _img(content.getvalue(), width, height, title)


def _colours() -> Iterator[int]:
    """256 colours from the strongest negative to the strongest positive one; the first is not seen."""
    for level in range(-128, 128):
        strength = min(abs(level) / 127, 1)
        colour = POSITIVE if level > 0 else NEGATIVE
        yield from (round(255 + (part - 255) * strength) for part in colour)


def _img(png: bytes, width: int, height: int, title: str) -> str:
    zoom = max(1, ACROSS // width)
    size = f'width="{width * zoom}" height="{height * zoom}"'
    url = f"data:image/png;base64,{b64encode(png).decode()}"
    return f'<img src="{url}" {size} alt="{escape(title)}" loading="lazy">'


def _image_row(sample: Sample) -> str:
    figures = []
    for title, pixels in (("image", sample.image), ("labels", PALETTE[sample.label])):
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        height, width, _ = pixels.shape
        picture = _img(content.getvalue(), width, height, title)
        figures.append(f"<figure>{picture}<figcaption>{title}</figcaption></figure>")
    return f'<div class="step-row"><p>{shape_text(sample.image.shape)}</p>{"".join(figures)}</div>'


def _rows(rows: list[str]) -> nodes.raw:
    return nodes.raw("", f'<div class="step">{"".join(rows)}</div>', format="html")


def _part(tensor: Recorded) -> str:
    """The heading under which a tensor stands."""
    scale, _, name = tensor.name.rpartition("/")
    if name.endswith((".resized", ".cross_entropy", ".loss")):
        return "The losses"
    return f"{scale.capitalize()}: backbone and head" if scale else "All scales on one grid"


def _number(value: float) -> str:
    """
    >>> _number(-0.00012345), _number(0), _number(12.5)
    ('−0.000123', '0', '12.5')
    """
    return f"{value:.3g}".replace("-", "−")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("train-step", TrainStep)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
