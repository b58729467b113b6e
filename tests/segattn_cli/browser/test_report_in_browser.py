"""The report in a browser: what it shows is what it was given, by pointer and by keys, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segattn_cli.data.formats.scenes import CLASSES
from segattn_cli.reporting import RunReport, read_history, report_page

from ..reporting.made import report
from ..runs.folders import WHOLE, run_folder, started, step, validated

WRONG = [230, 25, 75]


@pytest.fixture
def opened(visit: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """``opened(*reports, **how)``: the page about them, in the browser."""

    def open_reports(*reports: RunReport, **how: Any) -> Any:
        path = tmp_path / "page.html"
        path.write_text(report_page(reports), encoding="utf-8")
        return visit(path, **how).page

    return open_reports


#: Reads a copy: a canvas that is read several times makes Chromium complain.
COLOUR = """(canvas, [x, y]) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return [...copy.getImageData(x * canvas.width, y * canvas.height, 1, 1).data].slice(0, 3);
}"""


def colour_at(canvas: Any, x: float, y: float) -> Any:
    """The red, green and blue at a share of the canvas's width and height."""
    return canvas.evaluate(COLOUR, [x, y])


def test_the_figures_are_those_of_the_run(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(report(tmp_path / "first"))
    assert page.title() == "Training: first"
    tiles = page.locator("#results").inner_text()
    for figure in ("0.500", "after epoch 2", "1:02:05", "on numpy", "266,287", "100 MB", "12.5 %"):
        assert figure in tiles
    assert page.locator("#warnings").inner_text() == ""
    assert page.locator("#curves figcaption").all_inner_texts() == [
        "training loss", "validation", "learning rate", "gates", "mean weight of each scale", "gradient norm",
        "images per second", "fraction of time waiting for data",
    ]
    about = page.locator("#about-0").inner_text()
    assert about.startswith("The best checkpoint on the first 50 of 60 images of scenes (val): mIoU 0.")
    assert "ECE 0." in page.locator("#calibration-0").inner_text()


def test_half_precision_shows_its_scale_and_what_it_skipped(opened: Callable[..., Any], tmp_path: Path) -> None:
    skipped = [step(n, loss_scale=2.0 ** (17 - n), skipped=n - 1, gradient_norm=None) for n in (2, 3)]
    events = [started(precision="float16"), step(1, loss_scale=2.0**16, skipped=0), *skipped, validated(3, 0.5)]
    half = RunReport(read_history(run_folder(tmp_path / "half", events)))
    page = opened(half)
    assert "float16\n2 steps skipped by the loss scale" in page.locator("#results").inner_text()
    chart = page.locator("#curves figure", has=page.locator("figcaption", has_text="loss scale"))
    assert "scale from 65,536 to 16,384" in chart.locator("svg[role=img]").get_attribute("aria-label")
    page = opened(half, report(tmp_path / "single"))
    assert page.locator("#results tr", has_text="precision").inner_text().split() == ["precision", "float16", "–"]


def test_curves_can_be_read_by_keys_and_switched_off(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(report(tmp_path / "first"))
    chart = page.locator(".chart").first
    plot, read_out = chart.locator("svg[role=img]"), chart.locator(".read-out")
    assert "total from 4 to 1; main from 1 to 0.25; position from 3 to 0.75" in plot.get_attribute("aria-label")
    assert chart.locator("path.line").count() == 3
    plot.focus()
    page.keyboard.press("ArrowRight")
    assert read_out.inner_text().split("\n") == ["epoch 0.5", "total 4", "main 1", "position 3"]
    page.keyboard.press("End")
    assert read_out.inner_text().split("\n") == ["epoch 2", "total 1", "main 0.25", "position 0.75"]
    page.keyboard.press("ArrowLeft")
    assert read_out.inner_text().startswith("epoch 1.5")
    button = chart.get_by_role("button", name="position")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert chart.locator("path.line").count() == 2
    plot.hover(position={"x": 50, "y": 60})  # close to the axis, where the first point is nearest
    assert read_out.inner_text().split("\n") == ["epoch 0.5", "total 4", "main 1"]
    button.click()
    assert chart.locator("path.line").count() == 3
    for each in chart.get_by_role("button").all():
        each.click()
    assert chart.locator("path.line").count() == 0  # and Chromium complains of no coordinate


def test_curves_of_what_went_wrong(opened: Callable[..., Any], tmp_path: Path) -> None:
    values = [1e-30, 0.0, 1e30, None, 5.0]
    steps = [step(n + 1, loss=value, gradient_norm=0.0, learning_rate=-1e28) for n, value in enumerate(values)]
    page = opened(report(tmp_path / "run", events=[started(), *steps, step(7, loss=3e38, gates={})]))
    plot = page.locator(".chart svg[role=img]").first
    assert plot.locator("text").count() < 20
    plot.focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    assert "total 3.00e+38" in page.locator(".chart .read-out").first.inner_text()


def test_classes_and_their_change(opened: Callable[..., Any], tmp_path: Path) -> None:
    made = report(tmp_path / "first")
    assert made.validation is not None
    page = opened(made)
    rows = page.locator("#classes tbody tr")
    assert rows.count() == len(CLASSES)
    more = [
        next(iter(values.values()))
        for values in (
            made.validation.per_class_dice, made.validation.per_class_precision, made.validation.per_class_accuracy,
        )
    ]
    shown = rows.nth(0).inner_text().split()
    assert shown == ["sky", "–", "–", *(f"{value:.3f}" for value in more), *shown[-2:]]
    assert rows.last.inner_text().split()[-5:-2] == ["–", "–", "–"]  # never there and never predicted
    span = made.validation.miou_interval
    assert span is not None
    said = f"mIoU {made.validation.miou:.3f} (95 % interval over the images: {span.low:.3f} to {span.high:.3f})"
    assert said in page.locator("#about-0").inner_text()
    assert "0.500" in rows.nth(1).inner_text()
    assert "▲ +0.250" in rows.nth(1).inner_text()
    said = rows.nth(1).locator("svg").get_attribute("aria-label")
    assert said == f"IoU of {CLASSES[1]}: 0.25 after epoch 1, 0.5 after epoch 2"
    page.get_by_role("button", name="lowest IoU first").click()
    assert page.locator("#classes tbody tr").last.inner_text().startswith("sky")  # which has none


def test_the_confusion_matrix(opened: Callable[..., Any], tmp_path: Path) -> None:
    made = report(tmp_path / "first")
    assert made.validation is not None
    counts = made.validation.confusion
    page = opened(made)
    table = page.locator("table.confusion")
    assert table.locator("tbody tr").count() == len(CLASSES)
    cell = table.locator("tbody tr").nth(1).locator("td").nth(1)
    assert cell.inner_text() == f"{100 * counts[1, 1] / counts[1].sum():.0f}"
    table.locator("tbody tr").nth(1).locator("td").nth(0).hover()
    said = page.locator("#confusion-0 .read-out").inner_text()
    assert f"truth {CLASSES[1]}, predicted as {CLASSES[0]}" in said
    assert f"{counts[1, 0]} pixels, {100 * counts[1, 0] / counts[1].sum():.1f} % of the true class" in said
    table.focus()
    page.keyboard.press("ArrowRight")
    assert f"truth {CLASSES[1]}, predicted correctly" in page.locator("#confusion-0 .read-out").inner_text()
    assert table.locator("td.nothing").count() == len(CLASSES)  # the class that is not there
    page.get_by_role("button", name="fraction of the predicted class").click()
    cell = page.locator("table.confusion tbody tr").nth(1).locator("td").nth(1)
    assert cell.inner_text() == f"{100 * counts[1, 1] / counts[:, 1].sum():.0f}"


def test_pictures_say_where_they_are_wrong(opened: Callable[..., Any], tmp_path: Path) -> None:
    made = report(tmp_path / "first")
    assert made.palette is not None
    page = opened(made)
    examples = page.locator(".example")
    assert [" ".join(each.split()) for each in examples.locator("h3").all_inner_texts()] == [
        f"worst {n} mIoU 0.250, 50.0 % of the pixels right" for n in range(2)
    ]
    picture, truth, prediction, errors = examples.first.locator("canvas").all()
    assert "sky" in truth.get_attribute("aria-label")
    assert "50.0 %" in errors.get_attribute("aria-label")
    assert picture.get_attribute("aria-label") == "The image worst 0"
    assert colour_at(truth, 0.75, 0.5) == made.palette[0].tolist()
    assert colour_at(prediction, 0.75, 0.5) == made.palette[-1].tolist()
    assert colour_at(errors, 0.75, 0.5) == WRONG
    assert colour_at(errors, 0.25, 0.5) != WRONG
    assert colour_at(errors, 0.75, 0.01) in ([110, 110, 122], [88, 88, 100])
    examples.first.locator(".quartet").focus()
    page.keyboard.press("ArrowRight")
    assert examples.first.locator(".read-out").inner_text() == "pixel 17, 12: truth sky, prediction person"
    assert examples.first.locator(".mark:not([hidden])").count() == 4
    page.get_by_role("button", name="best 2").click()
    page.locator(".example h3", has_text="best 0").wait_for()
    assert page.locator(".example").count() == 2


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], "ended before its first step"),
        (WHOLE[:2], "ended at step 1 of 4"),
        ([*WHOLE[:3], {"event": "non_finite", "step": 3, "tensor": "head.query"}], "head.query"),
    ],
)
def test_runs_that_did_not_end_well(
    opened: Callable[..., Any], tmp_path: Path, events: list[dict[str, Any]], said: str
) -> None:
    history = read_history(run_folder(tmp_path / "run", events))
    page = opened(RunReport(history, missing="It has no network yet."))
    assert said in page.locator("body").inner_text()
    assert "It has no network yet." in page.locator("#s-run-0").inner_text()
    assert page.locator("#warnings .note").count() == 1
    assert page.locator("#classes").inner_text() == "Nothing has been validated yet."
    assert page.locator(".chart").count() == (7 if events else 0)


def test_what_was_said_before_the_first_step(opened: Callable[..., Any], tmp_path: Path) -> None:
    sentence = "The validation sees images at 1 times their size, and the training at <b>0.5</b>."
    events = [started(warnings=[sentence]), *WHOLE[1:]]
    page = opened(RunReport(read_history(run_folder(tmp_path / "run", events))))
    assert sentence in page.locator("#warnings .note").all_inner_texts()


def test_lines_that_lack_everything_are_no_obstacle(opened: Callable[..., Any], tmp_path: Path) -> None:
    kinds = ("started", "weights", "step", "validated", "non_finite")
    history = read_history(run_folder(tmp_path / "run", [{"event": kind} for kind in kinds]))
    page = opened(RunReport(history, missing="It has no network yet."))
    assert page.locator("#curves").inner_text() == "There are no curves: nothing has been logged yet."
    assert page.locator("#classes").inner_text() == "Nothing has been validated yet."


def test_weights_to_start_from(opened: Callable[..., Any], tmp_path: Path) -> None:
    loaded = {
        "event": "weights", "file": "/a/resnet18.pth", "layout": "torchvision", "matched": 102, "untouched": [],
        "reset": [], "unused": [],
    }
    page = opened(report(tmp_path / "run", events=[*WHOLE[:1], loaded, *WHOLE[1:]]))
    assert "resnet18.pth" in page.locator("#results").inner_text()
    assert "102 parameters (torchvision)" in page.locator("#results").inner_text()


def test_several_runs_begin_with_what_differs(opened: Callable[..., Any], tmp_path: Path) -> None:
    one = report(tmp_path / "a" / "run")
    other = report(tmp_path / "b" / "run", "training.seed=3", best=0.375)
    page = opened(one, other)
    assert page.locator("main section h2").first.inner_text() == "Differences in configuration"
    assert page.locator("#differences tbody").inner_text().split() == ["training.seed", "0", "3"]
    assert page.locator("#differences td.differs").inner_text() == "3"
    assert "▼ −0.125" in page.locator("#classes tfoot").inner_text()
    names = ["a/run", "b/run"]
    assert page.locator("#differences thead th").all_inner_texts()[1:] == names
    loss = page.locator(".chosen-chart").first
    assert loss.locator("figcaption").inner_text() == "training loss: main"
    strokes = "lines => lines.map((line) => getComputedStyle(line).stroke)"
    colours = loss.locator("path.line").evaluate_all(strokes)
    assert colours == page.locator("#differences thead line").evaluate_all(strokes)
    assert len(set(colours)) == 2
    loss.locator("select").select_option("total")
    assert loss.locator("figcaption").inner_text() == "training loss: total"
    assert loss.locator("svg[role=img]").get_attribute("aria-label").startswith(
        "Chart of training loss: total over the epochs: a/run from 4 to 1; b/run from 4 to 1."
    )


def test_runs_of_different_classes(opened: Callable[..., Any], tmp_path: Path) -> None:
    one, other = (report(tmp_path / each[0], classes=each) for each in (("x", "road", "y"), ("z", "road", "w")))
    page = opened(one, other)
    rows = page.locator("#classes tbody tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["x", "road", "y", "z", "w"]
    assert rows[1].split() == ["road", "0.500", "0.500", "0.000"]
    assert rows[2].split() == ["y", "0.500", "–", "–"]
    assert page.locator("table.confusion").count() == 2


def test_hostile_names_are_text(opened: Callable[..., Any], tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    name = 'Größe "<b>\'& läuft'
    classes = (evil, "<img src=x onerror=alert(1)>", "c")
    page = opened(report(tmp_path / name, classes=classes), report(tmp_path / "b"))
    assert page.locator("#classes tbody th").first.inner_text() == evil
    assert page.locator("#differences").count() == 1
    assert name in page.locator("#results thead").inner_text()
    assert page.locator("img, b").count() == 0


@pytest.mark.parametrize("count", [3, 19, 150])
def test_matrices_of_any_size(opened: Callable[..., Any], tmp_path: Path, count: int) -> None:
    classes = tuple(f"class {n} of a long name" for n in range(count))
    page = opened(report(tmp_path / "run", classes=classes))
    assert page.locator("table.confusion td").count() == count**2
    page.locator("table.confusion tbody tr").nth(count - 2).locator("td").nth(0).hover()
    assert f"truth class {count - 2} of" in page.locator("#confusion-0 .read-out").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == 1280


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_telephone(opened: Callable[..., Any], tmp_path: Path, scheme: str) -> None:
    classes = tuple(f"a class with a long name {n}" for n in range(30))
    folders = [tmp_path / f"{'a-long-name-' * 6}{n}" for n in range(3)]
    reports = [report(each, f"training.seed={n}", classes=classes) for n, each in enumerate(folders)]
    page = opened(*reports, viewport={"width": 400, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert page.locator(".chart svg[role=img]").first.bounding_box()["width"] > 300


def test_everything_that_can_be_used_has_a_name(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(report(tmp_path / "first"), report(tmp_path / "second"))
    nameless = page.locator("button, select, a, canvas, [tabindex]").evaluate_all(
        "nodes => nodes.filter((node) => !node.textContent.trim() && !node.ariaLabel).length"
    )
    assert nameless == 0


def test_of_long_runs_there_are_means(opened: Callable[..., Any], tmp_path: Path) -> None:
    events = [started(steps=5000), *(step(n) for n in range(1, 5001)), validated(5000, 0.5)]
    page = opened(RunReport(read_history(run_folder(tmp_path / "run", events)), missing="Left out."))
    note = "mean of 34 points, at the ends of fewer. A point is the mean of up to 5 logged steps."
    assert note in page.locator("#curves").inner_text()
    lines = page.locator(".chart").first.locator("path.line").all()
    logged, smoothed = (path.get_attribute("d") for path in lines[:2])
    assert logged.count("L") == smoothed.count("L") == 999
    ends = [[curve[1:].split("L")[n].split()[0] for n in (0, -1)] for curve in (logged, smoothed)]
    assert ends[0] == ends[1]  # both go from the first step to the last
