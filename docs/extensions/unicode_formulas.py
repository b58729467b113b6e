"""The formulas of docstrings, which are written to be read as text, in LaTeX.

In ``Σ_i a_i b_i / (c + d)`` the slash between spaces divides the whole product before it by the product after it;
the slash in ``1/|C|`` divides two factors. Indices are letters (``x_ji``), words (``x_padded``), or in braces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "λ": "lambda", "μ": "mu",
    "σ": "sigma", "Δ": "Delta",
}  # fmt: skip
FUNCTIONS = {"exp", "log", "max", "min"}
OPERATORS = {
    "·": r"\cdot", "×": r"\times", "−": "-", "+": "+", "=": "=", "≥": r"\ge", "≤": r"\le", "<": "<", ">": ">",
    "∈": r"\in", "⇔": r"\Leftrightarrow", "→": r"\to", ",": ",", ":": ":",
}  # fmt: skip
#: What a division between spaces does not reach beyond.
WEAK = set(OPERATORS)
PAIRS = {"(": ")", "[": "]", "⌈": "⌉", "⌊": "⌋", "{": "}"}
FENCES = {"(": "(", ")": ")", "[": "[", "]": "]", "⌈": r"\lceil", "⌉": r"\rceil", "⌊": r"\lfloor", "⌋": r"\rfloor"}
TOKEN = re.compile(r"\s+|[a-zA-Z]\u0302|[A-Za-z]+(?:\d[A-Za-z]+)?|[0-9.]+|.", re.DOTALL)
#: English between the formulas of a line.
WORDS = re.compile(r"\b(?:so|if|else|for|is|has|the|pixel|where|and)\b")


class FormulaError(ValueError):
    """What is no formula in this notation."""


@dataclass
class Part:
    """A piece of LaTeX: an ``atom``, an ``operator`` or a ``space``."""

    kind: str
    latex: str
    inner: str = ""  # of a group in parentheses, without them

    def operand(self) -> str:
        return self.inner or self.latex


def latex(line: str) -> str:
    r"""A line of a formula, in LaTeX.

    >>> latex("x̂ = (x − μ) / √(σ² + ε)")
    '\\hat{x} = \\frac{x - \\mu}{\\sqrt{\\sigma^{2} + \\varepsilon}}'
    >>> latex("w_is = exp(h_is) / Σ_t exp(h_it)          (2)")
    'w_{is} = \\frac{\\exp\\left(h_{is}\\right)}{\\sum_{t} \\exp\\left(h_{it}\\right)} \\qquad \\left(2\\right)'
    """
    chunks = re.split(r"(\s{2,})", line.strip())
    texts = []
    for chunk in chunks:
        if chunk.isspace():
            texts.append(r"\qquad" if len(chunk) >= 4 else r"\;")
        elif chunk.startswith("="):
            texts[-1:] = [_Parser(chunk).whole()]  # spaces before it align the lines of the text
        elif WORDS.search(chunk):
            texts += [rf"\text{{{each}}}" if WORDS.search(each) else latex(each) for each in _words(chunk)]
        else:
            texts.append(_Parser(chunk).whole())
    return " ".join(texts)


def _words(chunk: str) -> list[str]:
    """``for 0 ≤ i, j < window`` is a word and a formula, other English is one text."""
    match = re.fullmatch(r"(for|so|where) (.*[≤<=].*)", chunk)
    return [f"{match[1]} ", match[2]] if match else [chunk]


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = TOKEN.findall(text)
        self.at = 0

    def whole(self) -> str:
        parts = self.sequence("")
        if self.at < len(self.tokens):
            raise FormulaError(f"{self.text!r}: {self.tokens[self.at]!r} closes nothing")
        return parts

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def sequence(self, closer: str) -> str:
        """All up to ``closer``, which is not taken."""
        parts: list[Part] = []
        while self.peek() and self.peek() != closer:
            token = self.peek()
            if token == "/":
                self.divide(parts, closer)
            elif token.isspace():
                self.take()
                parts.append(Part("space", " "))
            elif token in OPERATORS:
                self.take()
                parts.append(Part("operator", OPERATORS[token]))
            elif token in PAIRS.values():
                break
            else:
                parts.append(self.atom())
        return re.sub(r"\s+", " ", _joined(parts)).strip()

    def divide(self, parts: list[Part], closer: str) -> None:
        self.take()
        if self.peek().isspace() and parts and parts[-1].kind == "space":
            above = _pop_product(parts)
            self.take()
            below: list[Part] = []
            while self.peek() and self.peek() != closer and self.peek() not in WEAK | set(PAIRS.values()):
                below.append(Part("space", self.take()) if self.peek().isspace() else self.atom())
            trailing = below and below[-1].kind == "space"
            below = below[:-1] if trailing else below
            parts.append(Part("atom", _fraction(above, below)))
            parts += [Part("space", " ")] if trailing else []
        else:
            if not parts or parts[-1].kind != "atom":
                raise FormulaError(f"{self.text!r}: nothing stands before the slash")
            above = [parts.pop()]
            parts.append(Part("atom", _fraction(above, [self.atom()])))

    def atom(self) -> Part:
        part = self.base()
        while True:
            token = self.peek()
            if token == "_":
                self.take()
                part = Part("atom", f"{part.latex}_{{{self.index()}}}")
            elif token == "^":
                self.take()
                part = Part("atom", f"{part.latex}^{{{self.atom().operand()}}}")
            elif token == "²" or token == "ᵀ":
                self.take()
                part = Part("atom", f"{part.latex}^{{{'2' if token == '²' else chr(92) + 'mathsf{T}'}}}")
            elif token == "[" or (token == "(" and not part.inner and part.latex[-1] not in "0123456789"):
                group = self.group()
                part = Part("atom", part.latex + group.latex)
            else:
                return part

    def base(self) -> Part:
        token = self.take()
        if token == "√":
            return Part("atom", rf"\sqrt{{{self.group().inner}}}")
        if token == "Σ":
            return Part("atom", rf"\sum{self.lower()} ")
        if token == "∂":
            return Part("atom", rf"\partial {self.atom().latex}")
        if token in PAIRS:
            self.at -= 1
            return self.group()
        if token == "|":
            inner = self.sequence("|")
            self.take()
            return Part("atom", rf"\lvert {inner} \rvert")
        if token == "…":
            return Part("atom", r"\dots")
        if token in GREEK:
            return Part("atom", rf"\{GREEK[token]}")
        if token.endswith("\u0302"):
            return Part("atom", rf"\hat{{{token[0]}}}")
        if token in FUNCTIONS:
            return Part("atom", rf"\{token}{self.lower()}")
        if token == "argmax":
            return Part("atom", rf"\operatorname{{argmax}}{self.lower()}")
        if re.fullmatch(r"[0-9.]+|[A-Za-z]|d[a-z]", token):
            return Part("atom", token)
        if token[0].isalpha() and token.isascii():
            while self.peek() == "_" and re.fullmatch(r"[a-z]{4,}", self.tokens[self.at + 1]):
                self.take()
                token += rf"\_{self.take()}"
            return Part("atom", rf"\mathrm{{{token}}}")
        raise FormulaError(f"{self.text!r}: {token!r} has no meaning")

    def lower(self) -> str:
        """The index of a sum or of a maximum."""
        if self.peek() != "_":
            return ""
        self.take()
        return f"_{{{self.index()}}}"

    def index(self) -> str:
        if self.peek() == "{":
            return self.group().inner
        if self.peek() == "(":
            return f"({self.group().inner})"
        token = self.take()
        return rf"\mathrm{{{token}}}" if len(token) > 3 else token

    def group(self) -> Part:
        opener = self.take()
        closer = PAIRS.get(opener)
        inner = self.sequence(closer or "")
        if closer is None or self.peek() != closer:
            raise FormulaError(f"{self.text!r}: {opener!r} is not closed")
        self.take()
        if opener == "{":
            return Part("atom", inner, inner)
        return Part("atom", rf"\left{FENCES[opener]}{inner}\right{FENCES[closer]}", inner if opener == "(" else "")


def _pop_product(parts: list[Part]) -> list[Part]:
    """Take the product at the end of ``parts``."""
    while parts and parts[-1].kind == "space":
        parts.pop()
    product: list[Part] = []
    while parts and parts[-1].kind != "operator":
        product.insert(0, parts.pop())
    while product and product[0].kind == "space":
        parts.append(product.pop(0))
    if not product:
        raise FormulaError("nothing stands before the slash")
    return product


def _fraction(above: list[Part], below: list[Part]) -> str:
    sides = (each[0].operand() if len(each) == 1 else _joined(each) for each in (above, below))
    return r"\frac{{{}}}{{{}}}".format(*(re.sub(r"\s+", " ", side).strip() for side in sides))


def _joined(parts: list[Part]) -> str:
    """The parts beside each other; a space only keeps commands of LaTeX apart."""
    return "".join(f" {part.latex} " if part.kind == "operator" else part.latex for part in parts)
