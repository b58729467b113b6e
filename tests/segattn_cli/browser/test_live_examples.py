"""The live examples of the pages of ops: the page's arithmetic against the reference's, in Chromium, for all ops.

The pages here have the script of an op and nothing else of the site, so Sphinx does not run.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import reference.ops
from segattn_cli.checking.cases import cases
from segattn_cli.reading.op_source import FOLDER, op_names, read_op

MODULES = ("javascript", "op_examples", "live_script")
#: Runs forward and backward of one case; an array is [shape, kind, values].
RUN = """
([inputs, options, dy]) => {
  const kinds = { f: np.float64, b: np.bool };
  const read = (x) => {
    if (!Array.isArray(x) || !Array.isArray(x[0])) return x ?? undefined;
    const [shape, kind, values] = x;
    return shape.length ? new np.NDArray(shape, values, kinds[kind] ?? np.int64) : values[0];
  };
  const write = (x) => (x instanceof np.NDArray ? [x.shape, Array.from(x.data)] : x === null ? null : [[], [x]]);
  const [forward, backward] = liveExample.code(np, () => {});
  const named = Object.fromEntries(Object.entries(options).map(([name, x]) => [name, read(x)]));
  const given = liveExample.positional.map((_, i) => read(inputs[i]));
  if (!backward) return [write(forward(...given, named))];
  const [y, cache] = forward(...given, named);
  const gradients = backward(read(dy), cache);
  const many = liveExample.differentiated.length > 1;
  return [y, ...(many ? gradients : [gradients])].map(write);
}
"""


@pytest.fixture(scope="module")
def extensions(repository):
    """The modules of docs/extensions that make a live example, which no package contains."""
    folder = str(repository / "docs" / "extensions")
    sys.path.insert(0, folder)
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    sys.path.remove(folder)
    for name in MODULES:
        del sys.modules[name]


@pytest.fixture(scope="module")
def live(extensions, repository, chromium, tmp_path_factory):
    """``live(op)`` opens a page with nothing but the live example of an op; none may write to the console."""
    folder = tmp_path_factory.mktemp("live")
    static = (repository / "docs" / "static" / "live").as_uri()
    context = chromium.new_context(offline=True)
    page = context.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))

    def visit(op):
        script = extensions.live_script.script(read_op(op))
        path = folder / f"{op}.html"
        path.write_text(
            f'<!doctype html><meta charset="utf-8"><div class="live"></div><script>const liveExample = {script};'
            f'</script><script src="{static}/numpy.js"></script><script src="{static}/live.js"></script>',
            encoding="utf-8",
        )
        page.goto(path.as_uri())
        assert said == []
        return page

    yield visit
    context.close()


def packed(x):
    return [list(x.shape), x.dtype.kind, x.ravel().tolist()] if isinstance(x, np.ndarray) else x


def assert_same(got, wanted):
    if wanted is None:
        assert got is None
        return
    shape, values = got
    assert tuple(shape) == np.shape(wanted)
    magnitude = np.abs(wanted).max() or 1
    assert np.abs(np.reshape(values, shape) - wanted).max() <= 1e-9 * magnitude


@pytest.mark.parametrize("op", [op for op in op_names() if read_op(op).backward])
def test_the_page_computes_what_the_reference_computes(op, live, rng):
    """Values and gradients, on all small cases of `segattn check` in their plain layout."""
    page = live(op)
    tried = 0
    for case in cases(op):
        if case.layout != "plain" or any(np.size(x) > 1000 for x in case.inputs):
            continue
        y, cache = getattr(reference.ops, op)(*case.inputs, **case.options)
        dy = rng.normal(size=y.shape) if y.ndim else 0.7
        gradients = getattr(reference.ops, f"{op}_backward")(dy, cache)
        wanted = [y, *(gradients if type(gradients) is tuple else [gradients])]
        options = {name: packed(value) for name, value in case.options.items()}
        results = page.evaluate(RUN, [[*map(packed, case.inputs)], options, packed(dy)])
        for got, value in zip(results, wanted, strict=True):
            assert_same(got, value)
        tried += 1
    assert tried >= 2


def test_labels_are_those_of_the_reference(live, rng):
    scores = rng.normal(size=(3, 5, 4))
    (got,) = live("label_map").evaluate(RUN, [[packed(scores)], {}, None])
    assert_same(got, reference.ops.label_map(scores))
    labels = rng.integers(0, 4, (3, 5))
    labels[0, 1:3] = 255
    page = live("hard_pixels")
    for threshold, least in [(0.3, 0.0), (0.0, 0.4), (1.0, 0.0)]:
        options = {"threshold": threshold, "least": least}
        (got,) = page.evaluate(RUN, [[packed(scores), packed(labels)], options, None])
        assert_same(got, reference.ops.hard_pixels(scores, labels, **options))


def shown(page, name):
    """The numbers of an array that is computed, as they are shown."""
    block = page.locator(".live-array").filter(has=page.locator(f"code:text-is('{name}')")).first
    return [float(text.replace("−", "-")) for text in block.locator("output").all_inner_texts()]


@pytest.mark.parametrize("op", op_names())
def test_a_page_starts_with_the_examples_of_the_docstring(op, live, extensions):
    source = read_op(op)
    page = live(op)
    choice = page.locator(".live select").first
    for number, example in enumerate(extensions.op_examples.examples(source)):
        choice.select_option(index=number, force=True)  # it is hidden if there is only one example
        result = getattr(reference.ops, op)(**example.arguments)
        if source.backward is None:
            assert shown(page, "result") == result.ravel().tolist()
            continue
        y, cache = result
        dy = example.dy if example.dy.ndim else example.dy.item()
        gradients = getattr(reference.ops, f"{op}_backward")(dy, cache)
        wanted = dict(zip(extensions.op_examples.differentiated(source),
                          gradients if type(gradients) is tuple else [gradients], strict=True))  # fmt: skip
        for name, gradient in wanted.items():
            if gradient is not None:
                np.testing.assert_allclose(shown(page, f"d{name}"), np.ravel(gradient), rtol=1e-4, atol=1e-12)
        np.testing.assert_allclose(shown(page, "y" if y.ndim else "loss"), y.ravel(), rtol=1e-4, atol=1e-12)
        largest = re.search(r"step of 1e-5: ([\d.e+-]+)[.,]", page.locator(".live-status").inner_text())
        assert float(largest[1]) < 1e-7


def test_a_number_that_is_changed_changes_result_gradient_and_difference(live):
    page = live("softmax_cross_entropy")
    page.get_by_label("logits[0, 0]").fill("2,5")
    logits = np.log([[1.0, 3.0], [1.0, 1.0], [9.0, 1.0]])
    logits[0, 0] = 2.5
    loss, cache = reference.ops.softmax_cross_entropy(logits, np.array([1, 0, 255]))
    np.testing.assert_allclose(shown(page, "loss"), [loss], rtol=1e-4)
    wanted = reference.ops.softmax_cross_entropy_backward(1.0, cache)
    np.testing.assert_allclose(shown(page, "dlogits"), wanted.ravel(), rtol=1e-4)
    page.get_by_label("dloss").fill("-2")
    np.testing.assert_allclose(shown(page, "dlogits"), -2 * wanted.ravel(), rtol=1e-4)
    page.get_by_role("button", name="Reset").click()
    assert page.get_by_label("dloss").input_value() == "1"


@pytest.mark.parametrize(
    ("op", "field", "text", "sentence"),
    [
        ("relu", "x[1]", "abc", "x[1] is “abc”, which is not a number."),
        ("relu", "dy[0]", "", "dy[0] is “”, which is not a number."),
        ("hard_pixels", "labels[2]", "1.5", "labels[2] is “1.5”, which is not an integer."),
        ("softmax_dice", "labels[0]", "7", "softmax_dice: labels hold 7, want 0 to 1 or the ignored 255."),
        ("dropout", "rate", "1", "dropout: rate is 1, wants at least 0 and less than 1."),
        ("batch_norm", "eps", "-1", "batch_norm: eps is -1, wants a positive number."),
        ("gated_residual", "gate", "1e308", "y is not finite: the numbers are too large."),
    ],
)
def test_what_cannot_be_computed_is_one_sentence(op, field, text, sentence, live):
    page = live(op)
    before = page.locator(".live-status").inner_text()
    page.get_by_label(field, exact=True).fill(text)
    assert page.locator(".live-status").inner_text() == sentence
    assert page.locator(".live.live-wrong").count() == 1
    page.get_by_role("button", name="Reset").click()
    assert (page.locator(".live-status").inner_text(), page.locator(".live.live-wrong").count()) == (before, 0)


def test_at_a_kink_there_is_no_derivative(live):
    page = live("relu")
    sentence = "At x[1] there is no derivative: the slope is 0 on the left and 6 on the right; the gradient is 0."
    assert sentence in page.locator(".live-status").inner_text()
    page.get_by_label("x[1]").fill("1e−3")  # with the minus that the page itself writes
    assert "no derivative" not in page.locator(".live-status").inner_text()
    page = live("max_pool2d")
    page.get_by_label("x[0, 0, 0, 0]").fill("5")  # ties with x[0, 0, 1, 0]
    assert page.locator(".live-status").inner_text().count("there is no derivative") == 2


def test_a_number_that_no_step_changes_is_not_compared(live):
    """Its central difference would be 0/0, beside which every other difference is lost."""
    page = live("batch_norm")
    page.get_by_label("x[0, 0, 0, 0]").fill("1e100")
    text = page.locator(".live-status").inner_text()
    assert text.startswith("Largest difference between the gradients and central differences")
    assert text.endswith("No central difference at x[0, 0, 0, 0]: too large for a step of 1e-5.")
    page = live("relu")
    for number, more in enumerate(("", " and 1 more number", " and 2 more numbers")):
        page.get_by_label(f"x[{number}]", exact=True).fill("1e100")
        sentence = f"No central difference at x[0]{more}: too large for a step of 1e-5."
        assert page.locator(".live-status").inner_text().endswith(sentence)


def test_the_keyboard_is_enough(live):
    page = live("channel_attention")
    page.keyboard.press("Tab")  # the example
    page.keyboard.press("Tab")  # the form
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")  # reset
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "x[0, 0, 0]"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("x[0, 0, 0]").input_value() == "5.1"
    x = np.array([[[5.1, 5.0, 0.0], [0.0, 0.0, 2.0]]])
    y, _ = reference.ops.channel_attention(x, form="released")
    np.testing.assert_allclose(shown(page, "y"), y.ravel(), rtol=1e-4, atol=1e-12)


def test_every_value_on_the_way_is_shown(live):
    page = live("position_attention")
    page.get_by_text("Every value on the way").click()
    names = page.locator("details .live-name code").all_inner_texts()
    assert names == ["energy", "attention", "y", "dattention", "dvalue", "denergy", "dquery", "dkey"]
    page.get_by_label("query[0, 0, 1]").fill("1")
    details = page.locator("details .live-array").filter(has=page.locator("code:text-is('energy')"))
    assert details.locator("output").all_inner_texts() == ["2", "4", "4", "0"]


def test_the_script_is_the_same_after_autodoc(extensions, monkeypatch):
    """Which replaces the defaults and the types in signatures by objects that print their text."""
    wanted = extensions.live_script.script(read_op("batch_norm"))
    signature = inspect.signature(reference.ops.batch_norm)
    changed = [
        each.replace(annotation=object(), default=each.default if each.default is each.empty else object())
        for each in signature.parameters.values()
    ]
    signature = signature.replace(parameters=changed)
    monkeypatch.setattr(reference.ops.batch_norm, "__signature__", signature, raising=False)
    assert extensions.live_script.script(read_op("batch_norm")) == wanted
    assert '{"training": [true, false], "eps": "number"}' in wanted


def test_examples_in_docstrings(extensions):
    for module in (extensions.javascript, extensions.op_examples):
        assert doctest.testmod(module).failed == 0
        assert doctest.testmod(module).attempted > 0


@pytest.mark.parametrize(
    "line",
    [
        "y = x @ x if x > 0 else lambda: 0", "y = x % 2", "while x: pass", "del x", "y = any(x)", "y = x is True",
        "for y in x: pass\n    else: y = 0",
    ],
)  # fmt: skip
def test_what_has_no_translation_is_an_error(line, extensions, tmp_path: Path):
    (tmp_path / "odd.py").write_text(f"def odd(x):\n    {line}\n    return y\n", encoding="utf-8")
    with pytest.raises(extensions.javascript.NotTranslated, match=r"^odd, line 2: "):
        extensions.javascript.translate("odd", tmp_path)


def test_the_page_has_every_function_of_numpy_that_ops_call(extensions, repository):
    text = (repository / "docs" / "static" / "live" / "numpy.js").read_text(encoding="utf-8")
    returned = text[text.index("  return {\n    NDArray") :]
    for op in op_names():
        code = extensions.javascript.translate(op, FOLDER)
        for name in set(re.findall(r"\bnp\.(\w+)", code)):
            assert re.search(rf"\b{name}\b", returned), f"{op} needs np.{name} in docs/static/live/numpy.js"
