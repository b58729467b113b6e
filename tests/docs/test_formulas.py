"""The formulas of docstrings are understood: each line of each op becomes MathML."""

from __future__ import annotations

import doctest
import importlib.util
import sys
from pathlib import Path

import pytest

from segattn_cli.reading.op_source import formula_blocks, op_names, read_op

pytest.importorskip("latex2mathml", reason="latex2mathml is not installed: pip install 'segattn[docs]'")

EXTENSION = Path(__file__).parents[2] / "docs" / "extensions" / "unicode_formulas.py"


@pytest.fixture(scope="module")
def formulas():
    """The module, which no package contains."""
    spec = importlib.util.spec_from_file_location("unicode_formulas", EXTENSION)
    module = sys.modules["unicode_formulas"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["unicode_formulas"]


def test_examples(formulas):
    assert doctest.testmod(formulas) == doctest.TestResults(failed=0, attempted=2)


@pytest.mark.parametrize("name", op_names())
def test_every_formula_of_an_op_is_typeset(name, formulas):
    from latex2mathml.converter import convert

    op = read_op(name)
    functions = [op.forward, *([op.backward] if op.backward else [])]
    blocks = [block for function in functions for block in formula_blocks(function.doc)]
    lines = [*op.formulas(), *(line for block in blocks for line in block)]
    assert lines
    for line in lines:
        assert convert(formulas.latex(line)).startswith("<math")


@pytest.mark.parametrize(
    ("line", "latex"),
    [
        ("a / b · c", r"\frac{a}{b} \cdot c"),
        ("2 Σ_i p_i g_i / (a + b)", r"\frac{2 \sum_{i} p_{i} g_{i}}{a + b}"),
        ("1 − 1/|C| Σ_{c ∈ C} D_c", r"1 - \frac{1}{\lvert C \rvert} \sum_{c \in C} D_{c}"),
        ("(1 − p)^(γ−1) R_Wᵀ", r"\left(1 - p\right)^{\gamma - 1} R_{W}^{\mathsf{T}}"),
        ("y = f(x)    for 0 ≤ i < n", r"y = f\left(x\right) \qquad \text{for } 0 \le i < n"),
        ("x_padded[h·stride]", r"x_{\mathrm{padded}}\left[h \cdot \mathrm{stride}\right]"),
    ],
)
def test_notation(line, latex, formulas):
    assert formulas.latex(line) == latex


@pytest.mark.parametrize("line", ["(a + b", "a + b)", "/ b", "a ♥ b", "√2"])
def test_what_has_no_meaning_is_refused(line, formulas):
    with pytest.raises(formulas.FormulaError):
        formulas.latex(line)
