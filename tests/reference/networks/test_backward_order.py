"""Every backward pass takes its caches in the one right order: what is swapped, left out or not reversed raises.

The mutations are made by rule from the source of each ``backward`` of ``reference.layers`` and
``reference.networks``, so a new layer is covered as soon as a network below uses it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

import reference.layers
import reference.networks
from reference.layers import Context
from reference.layers.attention import PositionAttention
from reference.networks.objective import Objective
from reference.networks.terms import LossTerms, MapLoss

from .conftest import Problem

NETWORKS = {
    "dual, two scales": {
        "backbone": "tiny", "head": "dual", "scales": (1.0, 0.5), "scale_classifier": "attached",
    },
    "largefov, maximum": {"backbone": "tiny", "head": "largefov", "scales": (1.0, 0.5), "fusion": "max"},
    "position": {"backbone": "tiny", "head": "position"},
    "every term": {"backbone": "tiny", "head": "fcn", "terms": LossTerms(focal=0.5, dice=0.5, lovasz=0.5)},
    "resnet18": {"backbone": "resnet18", "head": "fcn", "auxiliary_head": True, "deep_stem": True},
    "decoder": {"backbone": "resnet18", "output_stride": 32, "head": "dual", "decoder": True},
    "resnet50": {"backbone": "resnet50", "head": "fcn"},
    "vgg16": {"backbone": "vgg16", "head": "fcn"},
}  # fmt: skip


def first_line(node):
    return ast.unparse(node).partition("\n")[0]


def takes_a_cache(node):
    """Whether ``node`` takes a cache by ``ctx.saved`` or calls the backward of a layer, and not of an op."""
    return any(
        isinstance(each, ast.Call)
        and isinstance(each.func, ast.Attribute)
        and (each.func.attr == "saved" or "backward" in each.func.attr)
        and ast.unparse(each.func.value) != "ctx.ops"
        for each in ast.walk(node)
    )


def mutants_of(function):
    """Each mutant of ``function`` as a syntax tree, with a sentence that says what was done."""
    source = textwrap.dedent(inspect.getsource(function))

    def mutant(n, change):
        tree = ast.parse(source)
        change(list(ast.walk(tree))[n])
        return ast.fix_missing_locations(tree)

    for n, node in enumerate(ast.walk(ast.parse(source))):
        for field in ("body", "orelse"):
            block = getattr(node, field, None)
            if not isinstance(block, list) or isinstance(node, ast.Module):
                continue
            taking = [at for at, statement in enumerate(block) if takes_a_cache(statement)]
            for first, second in pairwise(taking):

                def swap(node, field=field, first=first, second=second):
                    block = getattr(node, field)
                    block[first], block[second] = block[second], block[first]

                yield f"{first_line(block[second])} before {first_line(block[first])}", mutant(n, swap)
            for at in taking:

                def leave_out(node, field=field, at=at):
                    getattr(node, field)[at] = ast.Pass()

                yield f"without {first_line(block[at])}", mutant(n, leave_out)
        if not isinstance(node, ast.Call):
            continue
        if ast.unparse(node.func) == "reversed":

            def keep_order(node):
                node.func.id = "list"

            yield f"{first_line(node)} not reversed", mutant(n, keep_order)
        inner = [at for at, each in enumerate(node.args) if isinstance(each, ast.Call) and takes_a_cache(each)]
        if inner and takes_a_cache(ast.Call(node.func, [], [])):

            def exchange(node, at=inner[0]):
                node.func, node.args[at].func = node.args[at].func, node.func

            yield f"{first_line(node)} inside out", mutant(n, exchange)


def mutations():
    """Class, name of the method and mutant of each backward."""
    for package in (reference.layers, reference.networks):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            classes = [each for each in vars(module).values() if isinstance(each, type)]
            for owner in (each for each in classes if each.__module__ == module.__name__ and each is not Context):
                for name, function in vars(owner).items():
                    if "backward" in name and inspect.isfunction(function):
                        for what, tree in mutants_of(function):
                            yield pytest.param(owner, name, tree, id=f"{owner.__name__}.{name}: {what}")


@cache
def after_forward(name):
    """A problem with the network ``name`` and its context after a forward pass."""
    problem = Problem(size=(9, 12), batch=1, **NETWORKS[name])
    ctx = problem.context()
    problem.objective.forward(problem.images, problem.labels, ctx)
    return problem, ctx


def layers_of(name):
    return {base for layer in after_forward(name)[0].network.sublayers() for base in type(layer).__mro__}


def run_backward(name):
    problem, ctx = after_forward(name)
    problem.objective.backward(replace(ctx, gradients={}, _saved=list(ctx._saved)))


def put_in_place(monkeypatch, owner, method, tree):
    namespace = {}
    exec(compile(tree, "mutant", "exec"), vars(inspect.getmodule(owner)), namespace)
    monkeypatch.setattr(owner, method, namespace[method])


def raises(name):
    try:
        run_backward(name)
    except Exception:  # a mutant may lack a variable before it comes to a cache
        return True
    return False


@pytest.mark.parametrize("name", NETWORKS)
def test_as_it_is_nothing_raises(name):
    run_backward(name)


@pytest.mark.parametrize(("owner", "method", "tree"), list(mutations()))
def test_no_other_order_passes(monkeypatch, owner, method, tree):
    put_in_place(monkeypatch, owner, method, tree)
    networks = [name for name in NETWORKS if owner in (Objective, MapLoss) or owner in layers_of(name)]
    assert networks, f"no network here has a {owner.__name__}"
    assert any(raises(name) for name in networks)


def test_the_sentence_has_both_names(monkeypatch):
    mutants = mutants_of(PositionAttention.backward)
    (tree,) = [tree for what, tree in mutants if "query.backward" in what and "key.backward" in what]
    put_in_place(monkeypatch, PositionAttention, "backward", tree)
    sentence = "backward came to the cache of head.position.query where that of head.position.key was saved last"
    with pytest.raises(RuntimeError, match=sentence):
        run_backward("position")
