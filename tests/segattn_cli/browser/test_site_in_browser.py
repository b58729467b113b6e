"""The site opens from the disk: no page asks for anything elsewhere, and none is wider than a phone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # the site is built, in ten seconds of a core, and each page is opened four times


@pytest.fixture(scope="module")
def site(repository, tmp_path_factory):
    """The site as `make docs` builds it: a warning is an error."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed: pip install 'segattn[docs]'")
    folder = tmp_path_factory.mktemp("site")
    arguments = ["-q", "-n", "-W", "--keep-going", "-d", str(folder / "doctrees"), "docs", str(folder / "html")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *arguments], cwd=repository, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


#: What can have the focus in a page's own part. As no tabindex is above 0, Tab goes through it in this order.
FOCUSABLE = """
[...document.querySelectorAll('article :is(a[href], button, input, select, summary, [tabindex="0"])')]
  .filter((each) => each.checkVisibility({ visibilityProperty: true }))
"""
#: What cannot have the focus, or does not show it.
UNSEEN_FOCUS = f"""
{FOCUSABLE}.filter((each) => {{
  each.focus({{ focusVisible: true, preventScroll: true }});
  const {{ outlineStyle, outlineWidth, boxShadow }} = getComputedStyle(each);
  const isShown = (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
  return document.activeElement !== each || !isShown;
}}).map((each) => each.outerHTML)
"""
#: The smallest contrast (WCAG 2) between a text in a page's own part and what is behind it; 21 is black on white.
CONTRAST = """
() => {
  const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = numbers(getComputedStyle(each).backgroundColor);
      if (colour.length === 3) return colour;
    }
    return [255, 255, 255];
  };
  const texts = "article :is(p, h1, h2, code, input, output, select, button, summary)";
  const ratios = [...document.querySelectorAll(texts)]
    .filter((each) => each.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
    .map((each) => {
      const lights = [numbers(getComputedStyle(each).color), behind(each)].map(luminance).sort((a, b) => b - a);
      return (lights[0] + 0.05) / (lights[1] + 0.05);
    });
  return Math.min(21, ...ratios);
}
"""


def pages(site: Path) -> list[Path]:
    """All pages but those that have a file of the repository."""
    return [page for page in sorted(site.rglob("*.html")) if "source" not in page.relative_to(site).parts]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_every_page_opens_from_the_disk(site: Path, chromium: Any, scheme: str, width: int) -> None:
    assert len(pages(site)) > 30
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    for each in pages(site):
        page.goto(each.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, each
        assert page.evaluate(UNSEEN_FOCUS) == [], each
        assert page.evaluate("[...document.querySelectorAll('[tabindex]')].every((x) => x.tabIndex <= 0)"), each
        assert page.evaluate(CONTRAST) >= 4.5, each
    assert said == []
    assert [url for url in asked if not url.startswith((site.as_uri(), "data:"))] == []
    context.close()


@pytest.mark.parametrize(("width", "name"), [(1280, "position_attention"), (400, "batch_norm")])
def test_tab_goes_through_the_lines_and_the_live_example(site: Path, chromium: Any, width: int, name: str) -> None:
    page = chromium.new_context(viewport={"width": width, "height": 900}, offline=True).new_page()
    page.goto((site / "understand" / "ops" / f"{name}.html").as_uri())
    count = page.evaluate(
        f"() => {{ window.wanted = {FOCUSABLE}; window.walked = []; wanted[0].focus();"
        "document.addEventListener('focusin', ({ target }) => walked.push(wanted.indexOf(target)));"
        "return wanted.length; }"
    )
    for _ in range(count + 20):  # Chromium stops at what scrolls, too
        page.keyboard.press("Tab")
    walked = [index for index in page.evaluate("walked") if index >= 0]
    assert walked[: count - 1] == list(range(1, count))
    kinds = page.evaluate("wanted.map((each) => each.className || each.getAttribute('aria-label'))")
    assert kinds.index("op-step") < kinds.index({"position_attention": "query[0, 0, 0]", "batch_norm": "eps"}[name])


def test_the_search_finds_a_page_without_a_server(site: Path, chromium: Any) -> None:
    page = chromium.new_context(offline=True).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto((site / "search.html").as_uri() + "?q=dilation")
    page.wait_for_selector("#search-results li a")
    assert said == []


@pytest.mark.parametrize("way", ["keyboard", "pointer"])
def test_a_line_of_backward_marks_the_line_that_it_undoes(site: Path, chromium: Any, way: str) -> None:
    page = chromium.new_context(offline=True).new_page()
    page.goto((site / "understand" / "ops" / "position_attention.html").as_uri())
    forward, backward = (page.locator(f".op-side:{side}-child .op-step") for side in ("first", "last"))
    for step, undone in ((0, "y = attention @ value"), (2, "energy = query @ key.mT")):
        if way == "pointer":
            backward.nth(step).hover()
        else:
            backward.nth(step).focus()
        page.wait_for_function(
            "text => [...document.querySelectorAll('.op-side:first-child .op-step')]"
            ".every((line) => line.classList.contains('lit') === line.textContent.includes(text))",
            arg=undone,
        )
    assert forward.count() == backward.count() == 3


def test_formulas_are_mathml(site: Path) -> None:
    text = (site / "understand" / "ops" / "scale_fusion.html").read_text(encoding="utf-8")
    assert text.count("<math") > 10
    assert "exp(h_is)" not in text, "the docstring's own text"


def test_the_boxes_of_a_network_lead_to_its_code(site: Path, chromium: Any) -> None:
    page = chromium.new_context(offline=True).new_page()
    for name in ("danet", "attention_to_scale", "both"):
        page.goto((site / "understand" / "networks" / f"{name}.html").as_uri())
        links = page.locator("svg.network a").evaluate_all(
            "(links) => links.map((a) => new URL(a.href.baseVal, location).href)"
        )
        assert len(links) > 20
        for link in set(links):
            path, _, anchor = link.removeprefix("file://").partition("#")
            text = Path(path).read_text(encoding="utf-8")
            assert not anchor or f'id="{anchor}"' in text or f'name="{anchor}"' in text, link


def test_a_network_opens_on_a_phone_where_the_image_comes_in(site: Path, chromium: Any) -> None:
    page = chromium.new_context(offline=True, viewport={"width": 400, "height": 900}).new_page()
    page.goto((site / "understand" / "networks" / "danet.html").as_uri())
    box = page.locator("svg.network .box").first.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 400
    frame = page.locator("div.network")
    assert frame.evaluate("(frame) => frame.scrollWidth > frame.clientWidth")


def test_the_explorer_opens_from_its_page_and_computes(site: Path, chromium: Any) -> None:
    page = chromium.new_context(offline=True).new_page()
    page.goto((site / "understand" / "explorer.html").as_uri())
    page.locator("a.explorer").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-ready]")
    assert page.url.endswith("/explorer-demo.html")
    assert page.evaluate("segattn.data.images.map((image) => image.name)") == ["test-00000", "test-00001"]
    assert str(Path.home()) not in page.content()


def test_every_tensor_of_the_step_has_two_pictures(site: Path, chromium: Any) -> None:
    page = chromium.new_context(offline=True).new_page()
    page.goto((site / "understand" / "train_step.html").as_uri())
    rows = page.locator(".step-row").evaluate_all(
        "(rows) => rows.map((row) => [row.querySelector('p').textContent, row.querySelectorAll('figure').length])"
    )
    assert len(rows) > 60
    assert [name for name, figures in rows if figures != 2] == ["scale_classifier.pool 1×8"]
    assert page.evaluate("[...document.images].every((image) => image.alt)")
