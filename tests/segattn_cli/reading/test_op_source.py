"""Ops taken apart; and the contract of quotes: each is a line of the forward function, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

import reference.ops
from segattn_cli.reading.op_source import Span, op_names, parse_op, read_op

EVERY_OP = pytest.mark.parametrize("name", op_names())

TEXT = '''"""Twice, plus one."""


class TwiceCache(NamedTuple):
    y: np.ndarray  # (N,)
    mode: str


def twice(x, *, mode="a"):
    """Double. ::

        y = 2 x + 1    (7)

    For numbers.
    """
    z = 2 * x  # (N,)
    if mode:
        z += (
            1
        )
    return z, TwiceCache(z, mode)


def twice_backward(dy, cache):
    """From ``dy``."""
    mode = cache.mode
    # z += (1)
    dz = dy  # (N,)
    # z = 2 * x
    dx = 2 * dz  # (N,)

    return dx
'''


def parsed(text: str = TEXT):
    return parse_op("twice", Path("twice.py"), text)


def test_a_file_is_taken_apart():
    op = parsed()
    assert (op.title, op.formulas()) == ("Twice, plus one.", ["y = 2 x + 1    (7)"])
    assert op.saved == (("y", "(N,)"), ("mode", ""))
    assert [line for _, line in op.code(op.forward)][:2] == [
        'def twice(x, *, mode="a"):', "    z = 2 * x  # (N,)",
    ]  # fmt: skip
    assert op.code(op.backward)[1] == (26, "    mode = cache.mode")


def test_a_quote_leads_to_the_statement_whatever_its_layout():
    first, second = parsed().undoings
    assert (first.quotes, first.undone, first.span) == (("z += (1)",), (Span(18, 20),), Span(27, 28))
    assert (second.quotes, second.undone, second.span) == (("z = 2 * x",), (Span(16, 16),), Span(29, 30))


@pytest.mark.parametrize("wrong", ["z = 3 * x", "z = 2 * x, roughly", "twice"])
def test_a_quote_that_forward_does_not_have_is_unknown(wrong):
    assert parsed(TEXT.replace("# z = 2 * x\n", f"# {wrong}\n")).undoings[1].unknown == (wrong,)


@EVERY_OP
def test_backward_quotes_forward_word_for_word(name):
    op = read_op(name)
    assert [quote for undoing in op.undoings for quote in undoing.unknown] == []
    assert bool(op.undoings) == (op.backward is not None)


def test_all_ops_are_found():
    functions = {name.removesuffix("_backward") for name in reference.ops.__all__}
    others = {"OpError", "asarray", "concatenate", "constants", "stack", "synchronize", "to_numpy"}
    others |= {"resize_bilinear_rows"}  # a part of resize_bilinear, in its file
    assert set(op_names()) == functions - others


@EVERY_OP
def test_every_op_has_a_page(name, repository):
    text = (repository / "docs" / "understand" / "ops" / f"{name}.md").read_text(encoding="utf-8")
    for directive in ("op", "op-code", "op-facts"):
        assert f"```{{{directive}}} {name}\n" in text
    assert "## Derivation" in text
