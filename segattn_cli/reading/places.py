"""Where an op is tested and what computes it in each backend, read from the files without importing them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import backends
from segattn_cli.reading.op_source import summary

#: Each backend with the one whose ops it has where it has none of its own.
BACKENDS = {"numpy": "reference", "numba": "numpy", "cupy": ""}
ROOT = Path(backends.__file__).parents[1]


class Implementation(NamedTuple):
    backend: str
    #: The file, from the root of the repository.
    place: str
    #: The first paragraph of its docstring.
    about: str


class Tests(NamedTuple):
    place: str
    names: tuple[str, ...]


def implementations(op: str) -> list[Implementation]:
    """What computes ``op`` in each backend.

    >>> [each.place for each in implementations("softmax")]
    ['reference/ops/softmax.py', 'reference/ops/softmax.py', 'backends/cupy/softmax.py']
    """
    found = []
    for backend in BACKENDS:
        place = _place(backend, op)
        tree = ast.parse((ROOT / place).read_text(encoding="utf-8"))
        found.append(Implementation(backend, place, summary(ast.get_docstring(tree) or "")))
    return found


def _place(backend: str, op: str) -> str:
    if backend == "reference":
        return f"reference/ops/{op}.py"
    module = _imported(backend).get(op)
    return f"{module.replace('.', '/')}.py" if module else _place(BACKENDS[backend], op)


@cache
def _imported(backend: str) -> dict[str, str]:
    """The ops of a backend's own, each with its module."""
    tree = ast.parse((ROOT / "backends" / backend / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: node.module
        for node in imports if node.module and node.module.startswith(f"backends.{backend}.")
        for alias in node.names
    }  # fmt: skip


def where_tested(op: str) -> list[Tests]:
    """The tests of the reference that name ``op``; none where the tests are not installed.

    >>> found = {each.place.rpartition("/")[2]: each.names for each in where_tested("relu")}
    >>> not found or found["test_relu.py"] != ()
    True
    """
    word = re.compile(rf"\b{op}(_backward)?\b")
    found = []
    for path in sorted((ROOT / "tests" / "reference" / "ops").glob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if not word.search(text):
            continue
        functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
        of_this_op = path.stem == f"test_{op}"
        names = tuple(
            node.name for node in functions
            if node.name.startswith("test_") and (of_this_op or word.search(_source(text, node)))
        )  # fmt: skip
        if not names and any(node.name == op for node in functions):  # a second implementation, tested by all cases
            names = tuple(node.name for node in functions if node.name.startswith("test_"))
        if names:
            found.append(Tests(path.relative_to(ROOT).as_posix(), names))
    return found


def _source(text: str, node: ast.FunctionDef) -> str:
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
