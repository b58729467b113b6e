"""The explorer in a real browser: its numbers are NumPy's, and it answers to mouse and keys."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends import get_backend
from segattn_cli.explaining import Explanation, explain
from segattn_cli.explaining.explanation_page import explanation_page, page_data
from segattn_cli.explaining.positions import TOLERANCE
from segattn_cli.rendering import unpack
from segattn_cli.runs import Model

SIZE = (48, 64)


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


@pytest.fixture(scope="session")
def both(model_of: Callable[..., Model]) -> Model:
    """Both papers in one network."""
    return model_of(head="dual", scales=[1.0, 0.5])


@pytest.fixture(scope="session")
def explained(both: Model, picture: np.ndarray) -> Explanation:
    return explain(both, get_backend("numpy"), picture, "noise")


def write(folder: Path, model: Model, *explanations: Explanation, **how: Any) -> Path:
    path = folder / "page.html"
    path.write_text(explanation_page(model, explanations, backend="numpy", **how), encoding="utf-8")
    return path


@pytest.fixture
def page(tmp_path: Path, visit: Callable[..., Any], both: Model, explained: Explanation) -> Any:
    """The page about both, opened."""
    return visit(write(tmp_path, both, explained, points=[(10, 10), (50, 30)])).page


def cell_centre(page: Any, selector: str, grid: tuple[int, int], cell: int) -> tuple[float, float]:
    """Where on the screen the middle of a cell of the map in ``selector`` is."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    row, column = divmod(cell, grid[1])
    return box["x"] + (column + 0.5) * box["width"] / grid[1], box["y"] + (row + 0.5) * box["height"] / grid[0]


MAP = "#position canvas[role=application]"


@pytest.mark.parametrize("scale", [0, 1])
def test_every_row_and_column_is_numpys(page: Any, explained: Explanation, scale: int) -> None:
    view = explained.positions[scale]
    count = view.grid[0] * view.grid[1]
    energy = view.query.astype(np.float64) @ view.key.T.astype(np.float64)
    wanted = np.exp(energy - energy.max(1, keepdims=True))
    wanted /= wanted.sum(1, keepdims=True)
    read = "async ([scale, kind]) => { const view = (await segattn.open(0)).positions[scale]; "
    read += f"return Array.from({{length: {count}}}, (_, n) => Array.from(segattn[kind](view, n))); }}"
    rows, columns = (np.array(page.evaluate(read, [scale, kind])) for kind in ("row", "column"))
    assert view.compact.error < TOLERANCE
    assert np.abs(rows - wanted).max() <= view.compact.error + 1e-6
    assert np.abs(columns - wanted.T).max() <= view.compact.error + 1e-6
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)


def test_a_click_shows_the_row_of_the_pixel(page: Any, explained: Explanation) -> None:
    view = explained.positions[0]
    for cell in (0, 17, view.grid[0] * view.grid[1] - 1):
        x, y = cell_centre(page, MAP, view.grid, cell)
        page.mouse.click(x, y)
        page.mouse.move(5, 5)  # what is held stays when the pointer leaves
        top = page.locator("#position .weight").first
        wanted = view.row(cell).ravel()
        assert float(top.get_attribute("data-value")) == pytest.approx(wanted.max(), abs=view.compact.error + 1e-6)
        assert wanted[int(top.get_attribute("data-cell"))] >= wanted.max() - 2 * view.compact.error - 1e-6
        assert f"Query no. {cell} of" in page.locator("#position-read-out").inner_text()


def test_the_mirror_question(page: Any, explained: Explanation) -> None:
    view = explained.positions[0]
    x, y = cell_centre(page, MAP, view.grid, 9)
    page.mouse.click(x, y)
    page.keyboard.press("c")
    column = np.array([view.row(cell).ravel()[9] for cell in range(view.grid[0] * view.grid[1])])
    top = page.locator("#position .weight").first
    bound = view.compact.error + 1e-6
    assert float(top.get_attribute("data-value")) == pytest.approx(column.max(), abs=bound)
    assert float(page.locator("#position .sum").inner_text()) == pytest.approx(column.sum(), rel=0.01)
    assert "is attended to by" in page.locator("#position-read-out").inner_text()


def test_keys_move_and_pin(page: Any, explained: Explanation) -> None:
    _, width = explained.positions[0].grid
    page.locator(MAP).focus()
    start = page.evaluate("segattn.explorers.position.selected")
    for key, step in (("ArrowRight", 1), ("ArrowDown", width), ("ArrowLeft", -1), ("ArrowUp", -width)):
        page.keyboard.press(key)
        start += step
        assert page.evaluate("segattn.explorers.position.selected") == start
    page.keyboard.press("Shift+ArrowDown")  # five rows down, or as far as there are
    assert page.evaluate("segattn.explorers.position.selected") % width == start % width
    page.keyboard.press("p")
    assert page.locator("#position .pins figure").count() == 3
    page.get_by_role("button", name="Unpin pixel 1").click()
    assert page.locator("#position .pins figure").count() == 2


def test_keys_are_announced_and_pointers_are_not(page: Any, explained: Explanation) -> None:
    """A screen reader hears where keys have led, once they rest."""
    said = page.locator("#announced")
    x, y = cell_centre(page, MAP, explained.positions[0].grid, 9)
    page.mouse.move(x, y)
    page.wait_for_timeout(400)
    assert said.inner_text() == ""
    page.locator(MAP).focus()
    page.keyboard.press("ArrowRight")
    page.locator("#announced", has_text="attends most to").wait_for(state="attached")
    assert said.get_attribute("role") == "status"


def test_points_are_pinned(page: Any, explained: Explanation) -> None:
    height, width = explained.positions[0].grid
    centres = ((10.5, 10.5), (50.5, 30.5))
    wanted = [int(y * height / SIZE[0]) * width + int(x * width / SIZE[1]) for x, y in centres]
    assert page.evaluate("segattn.explorers.position.pins") == wanted
    view = explained.positions[0]
    common = np.minimum(view.row(wanted[0]), view.row(wanted[1])).sum()
    caption = page.locator("#position .pins figure").nth(1).inner_text()
    assert f"{100 * common:.0f} % in common with 1" in caption


def test_what_is_drawn_is_the_row(page: Any, explained: Explanation) -> None:
    """At full strength the colour of each cell is cividis at weight over largest weight."""
    view = explained.positions[0]
    row = np.array(page.evaluate("Array.from(segattn.row(segattn.explorers.position.view, 5))"))
    colours = page.evaluate(
        """() => {
          const explorer = segattn.explorers.position;
          explorer.pins = []; explorer.strength = 1; explorer.select(5);
          const canvas = document.querySelector("#position canvas");
          const context = canvas.getContext("2d");
          const [height, width] = explorer.view.grid;
          const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
          return Array.from({ length: height * width }, (_, n) => {
            const x = Math.floor(((n % width) + 0.5) * canvas.width / width);
            const y = Math.floor((Math.floor(n / width) + 0.5) * canvas.height / height);
            return Array.from(data.slice(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 3));
          });
        }"""
    )
    table = np.array(page.evaluate("segattn.data.colours"))
    wanted = table[np.floor(255 * row / row.max() + 0.5).astype(int)]
    assert len(colours) == view.grid[0] * view.grid[1]
    np.testing.assert_allclose(colours, wanted, atol=1)


@pytest.mark.parametrize("strength", [1, 0.8, 0.4])
def test_the_colour_bar_has_the_colours_of_the_map(page: Any, strength: float) -> None:
    """A map lies over a grey image, and its colour bar over white, above, to black, below."""
    cells = page.evaluate(
        """(strength) => {
          const explorer = segattn.explorers.position;
          const read = (strength) => {
            explorer.pins = []; explorer.strength = strength; explorer.select(0);
            const { canvas } = explorer;
            const copy = new OffscreenCanvas(canvas.width, canvas.height);
            const context = copy.getContext("2d", { willReadFrequently: true });
            context.drawImage(canvas, 0, 0);
            const [height, width] = explorer.view.grid;
            return Array.from({ length: height * width }, (_, n) => {
              const x = Math.floor(((n % width) + 0.5) * canvas.width / width);
              const y = Math.floor((Math.floor(n / width) + 0.5) * canvas.height / height);
              return [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
            });
          };
          const grey = read(0).map(([level]) => level);
          const values = explorer.values();
          const top = Math.max(...values);
          const colours = read(strength);
          return colours.map((colour, n) => ({ colour, grey: grey[n], share: values[n] / top }));
        }""",
        strength,
    )
    bar = page.locator("#position .colour-bar").first
    image = np.asarray(Image.open(io.BytesIO(bar.screenshot())).convert("RGB")).astype(int)
    height, width = image.shape[:2]
    compared = 0
    for cell in cells[1:]:  # the first is framed
        row, column = (1 - cell["grey"] / 255) * (height - 1), cell["share"] * (width - 1)
        if 2 < row < height - 3 and 4 < column < width - 5:  # the bar has round corners and a border
            compared += 1
            tolerance = 24 if strength < 1 else 8  # the bar has 15 rows for all levels of grey
            np.testing.assert_allclose(image[round(row), round(column)], cell["colour"], atol=tolerance)
    assert compared > 5


def test_channels(page: Any, explained: Explanation) -> None:
    view = explained.channels[0]
    chooser = page.locator("#channel input[type=number]")
    for channel in (0, 5):
        chooser.fill(str(channel))
        chooser.press("Enter")
        assert page.locator("#channel .changed").count() == int((view.without[channel] != 255).any())
        if (view.without[channel] != 255).any():
            wanted = 100 * (view.without[channel] != 255).mean()
            assert page.locator("#channel .changed").inner_text() == f"{wanted:.1f} %"
        got = page.evaluate(
            """(c) => {
              const explorer = segattn.explorers.channel;
              return [explorer.row(c), explorer.feature(c), explorer.gathered(c)].map((x) => Array.from(x));
            }""",
            channel,
        )
        features = view.features.reshape(-1, view.features.shape[-1])
        step = np.ptp(features, axis=0) / 255
        np.testing.assert_allclose(got[0], view.attention[channel], atol=TOLERANCE)
        np.testing.assert_allclose(got[1], features[:, channel], atol=step[channel])
        np.testing.assert_allclose(
            got[2], features @ view.attention[channel], atol=step.max() + len(step) * TOLERANCE * features.max()
        )
    page.locator("#channel canvas.matrix").focus()
    place = "segattn.explorers.channel.order.indexOf(segattn.explorers.channel.chosen)"
    before = page.evaluate(place)
    page.keyboard.press("ArrowUp" if before else "ArrowDown")
    assert page.evaluate(place) == abs(before - 1)


def test_the_channel_map_is_ordered_and_zoomed(page: Any, explained: Explanation) -> None:
    count = len(explained.channels[0].order)
    for order in ("number", "attended", "useful", "similar"):
        page.locator("#channel select").select_option(order)
        assert sorted(page.evaluate("Array.from(segattn.explorers.channel.order)")) == list(range(count))
    assert page.evaluate("Array.from(segattn.explorers.channel.order)") == explained.channels[0].order.tolist()
    x, y = cell_centre(page, "#channel canvas.matrix", (count, count), 3 * count + 5)
    page.mouse.move(x, y)
    query, key = explained.channels[0].order[[3, 5]]
    said = page.locator("#channel-pair").inner_text()
    assert f"channel j = {query} attends to channel i = {key} with weight" in said
    page.mouse.click(x, y)
    assert page.evaluate("segattn.explorers.channel.chosen") == query


def test_scales(page: Any, explained: Explanation) -> None:
    assert explained.scales is not None
    assert explained.scales.weights is not None
    weights = np.array(page.evaluate("(async () => Array.from((await segattn.open(0)).scales.weights))()"))
    weights = weights.reshape(explained.scales.weights.shape)
    np.testing.assert_allclose(weights, explained.scales.weights, atol=1e-4)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=2e-4)
    means = [float(text) for text in page.locator("#scales .mean").all_inner_texts()]
    np.testing.assert_allclose(means, explained.scales.weights.mean((0, 1)), rtol=0.01)
    canvas = page.locator("#scales canvas").first
    canvas.scroll_into_view_if_needed()
    canvas.hover()
    assert "weight" in page.locator("#scales .read-out").inner_text()
    canvas.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    height, width = explained.grid
    row, column = int((0.5 + 1 / height) * height), int((0.5 - 1 / width) * width)
    wanted = float(f"{explained.scales.weights[row, column, 0]:.3g}")
    assert float(page.locator("#scales .read-out").inner_text().split("weight ")[1].split(",")[0]) == pytest.approx(
        wanted, abs=1e-3
    )


def test_experiments(page: Any, explained: Explanation) -> None:
    said = page.locator("#experiments .changed").all_inner_texts()
    titles = page.locator("#experiments figcaption strong").all_inner_texts()
    assert titles == [each.title for each in explained.experiments]
    assert len(titles) == 8
    for text, each in zip(said, explained.experiments, strict=True):
        share = (each.label != explained.label).mean()
        assert text == f"{100 * share:.2f} %"
    page.get_by_role("button", name="The prediction", exact=True).click()
    assert page.get_by_role("button", name="The prediction", exact=True).get_attribute("aria-pressed") == "true"


def test_gates_stand_by_their_maps(
    tmp_path: Path, visit: Callable[..., Any], both: Model, picture: np.ndarray, page: Any
) -> None:
    assert page.locator("#position-gate .gate").inner_text() == "α = 0.8"
    assert page.locator("#position-gate .note").count() == 0
    closed = {name: value * 0 if name.endswith(".gate") else value for name, value in both.params.items()}
    model = replace(both, params=closed)
    shut = visit(write(tmp_path, model, explain(model, get_backend("numpy"), picture, "shut"))).page
    assert shut.locator("#position-gate .gate").inner_text() == "α = 0"
    assert "nothing of this map reaches the prediction" in shut.locator("#position-gate .note").inner_text()


def test_an_open_gate_that_changes_nothing_is_not_called_closed(
    tmp_path: Path, visit: Callable[..., Any], both: Model, explained: Explanation
) -> None:
    idle = tuple(replace(each, label=explained.label) for each in explained.experiments)
    page = visit(write(tmp_path, both, replace(explained, experiments=idle))).page
    said = page.locator("#position-gate .note").inner_text()
    assert said.startswith("In this image no class depends on the map below")


def test_every_point_is_pinned(
    tmp_path: Path, visit: Callable[..., Any], both: Model, explained: Explanation
) -> None:
    points = [(x, y) for x in (4, 20, 36, 52) for y in (4, 20, 36)]
    page = visit(write(tmp_path, both, explained, points=points)).page
    assert page.locator("#position .pins figure").count() == 12


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"head": "fcn"}, ["no position attention", "no channel attention", "there are no experiments"]),
        ({"head": "position"}, ["no channel attention"]),
        ({"head": "channel", "channel_form": "paper"}, ["no position attention"]),
        ({"head": "largefov"}, ["no position attention", "no channel attention"]),
        ({"head": "fcn", "scales": [1.0, 0.5], "fusion": "max"}, ["maximum", "no position attention"]),
        ({"head": "dual", "scales": [0.5, 1.0, 0.75], "fusion": "mean"}, ["by their mean"]),
    ],
)
def test_what_a_network_has_not_is_said(
    tmp_path: Path, visit: Callable[..., Any], model_of: Callable[..., Model], picture: np.ndarray,
    parts: Mapping[str, Any], says: list[str],
) -> None:
    model = model_of(**parts)
    page = visit(write(tmp_path, model, explain(model, get_backend("numpy"), picture, "noise"))).page
    notes = " ".join(page.locator(".note").all_inner_texts())
    for words in says:
        assert words in notes
    several = int(len(parts.get("scales", [1.0])) > 1)
    assert page.locator("#s-scales").count() == page.locator("nav a", has_text="Scales").count() == several
    assert page.locator("#prediction canvas").count() == 2


@pytest.mark.slow
def test_a_large_picture(
    tmp_path: Path, visit: Callable[..., Any], model_of: Callable[..., Model], rng: np.random.Generator
) -> None:
    model = model_of(head="dual")
    image = rng.integers(0, 256, (1024, 2048, 3)).astype(np.uint8)
    found = explain(model, get_backend("numpy"), image, "large", max_side=2048)
    assert found.grid == (128, 256)
    assert found.positions[0].compact.error < TOLERANCE
    page = visit(write(tmp_path, model, found)).page
    x, y = cell_centre(page, MAP, found.grid, 20_000)
    page.mouse.click(x, y)
    wanted = found.positions[0].row(page.evaluate("segattn.explorers.position.selected"))
    top = float(page.locator("#position .weight").first.get_attribute("data-value"))
    assert top == pytest.approx(wanted.max(), abs=found.positions[0].compact.error + 1e-6)


def test_a_tiny_picture(tmp_path: Path, visit: Callable[..., Any], both: Model) -> None:
    found = explain(both, get_backend("numpy"), np.zeros((1, 1, 3), np.uint8), "dot")
    page = visit(write(tmp_path, both, found)).page
    assert float(page.locator("#position .weight").first.inner_text()) == 1


@pytest.mark.parametrize("size", [(300, 9), (9, 300)])
def test_tall_and_wide_pictures(
    tmp_path: Path, visit: Callable[..., Any], both: Model, size: tuple[int, int]
) -> None:
    found = explain(both, get_backend("numpy"), np.zeros((*size, 3), np.uint8), "strip")
    page = visit(write(tmp_path, both, found)).page
    box = page.locator(MAP).bounding_box()
    assert box["height"] <= 900
    assert box["width"] / box["height"] == pytest.approx(size[1] / size[0], rel=0.05)
    x, y = cell_centre(page, MAP, found.positions[0].grid, 1)
    page.mouse.click(x, y)
    assert page.evaluate("segattn.explorers.position.selected") == 1


def test_names_are_text(tmp_path: Path, visit: Callable[..., Any], both: Model, explained: Explanation) -> None:
    evil = "</script><script>document.title = 'gone'</script><img src=x onerror=alert(1)>"
    model = replace(both, classes=(evil, *both.classes[1:]), path=Path(evil))
    path = write(tmp_path, model, replace(explained, name=evil))
    page = visit(path).page
    assert page.title().startswith("Attention in")
    assert evil in page.locator("#about-image").inner_text()
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("script").count() == 2


def test_several_pictures(tmp_path: Path, visit: Callable[..., Any], both: Model, explained: Explanation) -> None:
    page = visit(write(tmp_path, both, explained, replace(explained, name="second"))).page
    page.locator("#images button").nth(1).click()
    page.locator("#about-image", has_text="second").wait_for()
    assert page.locator("#images button").nth(1).get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1280])
def test_nothing_sticks_out(
    tmp_path: Path, visit: Callable[..., Any], both: Model, explained: Explanation, width: int, scheme: str
) -> None:
    path = write(tmp_path, both, explained, points=[(10, 10)])
    page = visit(path, viewport={"width": width, "height": 800}, color_scheme=scheme).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in background[4:-1].split(",")) < 384) == (scheme == "dark")


def test_everything_has_a_name(page: Any) -> None:
    """What can be pressed has a name, and what is a picture says what it shows."""
    nameless = """() => [...document.querySelectorAll("button, select, input, canvas")].filter((node) =>
        !(node.textContent.trim() || node.getAttribute("aria-label") || node.closest("label"))).length"""
    assert page.evaluate(nameless) == 0


def test_the_block_is_what_numpy_reads(both: Model, explained: Explanation) -> None:
    data = page_data(both, [explained])
    image = data["images"][0]
    np.testing.assert_array_equal(unpack(image["label"]), explained.label)
    for got, each in zip(image["experiments"], explained.experiments, strict=True):
        np.testing.assert_array_equal(unpack(got["label"]), each.label)
    for got, view in zip(image["positions"], explained.positions, strict=True):
        np.testing.assert_array_equal(unpack(got["query"]), view.compact.query.values)
        np.testing.assert_allclose(unpack(got["received"]), view.received, atol=view.received.max() / 1000)
