"""Where an op is implemented and tested."""

from __future__ import annotations

import importlib

import pytest

from segattn_cli.reading.op_source import op_names
from segattn_cli.reading.places import implementations, where_tested


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("op", op_names())
def test_the_file_of_an_implementation_is_that_of_the_function(backend, op):
    if backend == "numba":
        pytest.importorskip("numba", reason="Numba is not installed: pip install 'segattn[numba]'")
    function = getattr(importlib.import_module(f"backends.{backend}"), op)
    place = {each.backend: each.place for each in implementations(op)}[backend]
    assert place == f"{function.__module__.replace('.', '/')}.py"


@pytest.mark.parametrize("op", op_names())
def test_every_op_is_implemented_and_tested(op, repository):
    for each in implementations(op):
        assert (repository / each.place).exists()
        assert each.about.endswith((".", ":", "…"))
    found = where_tested(op)
    assert found
    for each in found:
        text = (repository / each.place).read_text(encoding="utf-8")
        assert all(f"def {name}(" in text for name in each.names)
