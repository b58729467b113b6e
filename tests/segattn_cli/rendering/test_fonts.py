"""Names of classes are drawn as they are, also where they look like markup or are in another script."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from segattn_cli.rendering import fonts
from segattn_cli.rendering.charts import draw_confusion
from segattn_cli.rendering.fonts import font_for, writable
from segattn_cli.rendering.overlays import draw_overlay

NAMES = ("$car$ & <b>", "$\\frac{$", "\u5929\u7a7a\x1b[31m")


def test_dollars_begin_no_formula(tmp_path) -> None:
    draw_confusion(np.eye(3), NAMES, tmp_path / "confusion.png")  # \\frac{ would be an error
    figure = Figure()
    label = figure.add_subplot().set_xlabel("$x$")
    fonts.write_plainly(figure)
    assert not label.get_parse_math()


def test_powers_of_ten_stay_formulas() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_yscale("log")
    axes.plot([1, 1000])
    fonts.write_plainly(figure)
    assert any(tick.get_parse_math() and "10^" in tick.get_text() for tick in axes.get_yticklabels())


def test_fonts_that_were_installed_after_matplotlibs_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    serif = [entry for entry in font_manager.fontManager.ttflist if entry.name == "DejaVu Serif"]
    path = next(entry.fname for entry in serif if entry.style == "normal" and entry.weight == 400)
    others = [entry for entry in font_manager.fontManager.ttflist if entry not in serif]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", others)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [path, __file__])
    monkeypatch.setattr(fonts, "FAMILIES", ("DejaVu Serif",))
    assert fonts._paths.__wrapped__()["DejaVu Serif"] == path


def test_what_no_font_has_is_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = fonts._paths()
    monkeypatch.setattr(fonts, "_paths", lambda: {"DejaVu Sans": paths["DejaVu Sans"]})
    assert fonts.writable("sky \u5929") == "sky \\u5929"
    text, font = fonts.font_for("\u5929", 12)
    assert (text, font.getname()[0]) == ("\\u5929", "DejaVu Sans")


def test_an_overlay_with_names_of_every_kind() -> None:
    label = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    drawn = draw_overlay(np.zeros((3, 4, 3), np.uint8), label, np.eye(3, dtype=np.uint8) * 255, NAMES)
    assert min(drawn.size) > 0


def test_a_long_name_is_shortened() -> None:
    for name in (writable("x" * 3000), font_for("x" * 3000, 12)[0]):
        assert name == "x" * 59 + "…"
