"""Every example in a docstring runs, and gives what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import backends
import reference
import segattn_cli

#: Modules that import CuPy or PyTorch.
NEED_MORE = (
    "backends.cupy", "segattn_cli.benchmarking.baselines.", "segattn_cli.benchmarking.cuda",
    "segattn_cli.ranks.nccl",
)  # fmt: skip


def modules():
    """Every module of the three packages, without those in :data:`NEED_MORE`."""
    for package in (reference, backends, segattn_cli):
        yield package.__name__
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda name: None):
            if not module.name.startswith(NEED_MORE):
                yield module.name


def examples():
    """The docstrings with examples: (module, test)."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in modules():
        module = importlib.import_module(name)
        yield from (test for test in finder.find(module) if test.examples)


@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.name)
def test_example(example):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(example).failed == 0


def test_every_op_has_an_example():
    named = {example.name.rsplit(".", 1)[-1] for example in examples()}
    ops = set(reference.ops.__all__) - {"OpError", "synchronize", "to_numpy"}
    assert ops <= named
