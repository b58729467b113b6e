"""Every name of CuPy that the backend uses is one of the real package's, with the arguments that it gets.

The real package is asked, which needs no driver. cuBLAS cannot be loaded without its library: there the
descriptions that its binding carries are read instead.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

from . import cublas, nccl
from .extra import needs_extra
from .launches import ROOT

pytestmark = [pytest.mark.cuda_cpu, needs_extra]

BACKEND = ROOT / "backends" / "cupy"
FILES = [*sorted(BACKEND.glob("*.py")), ROOT / "segattn_cli" / "ranks" / "nccl.py"]


def dotted(node):
    """``cupy.cuda.Device`` of an expression that is nothing but names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return None


def uses(tree):
    """Each name below ``cupy``, as the real package has it, and the calls of it."""
    imported = {"cupy": "cupy"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cupy":
            imported |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and (name := dotted(node)):
            first, *rest = name.split(".")
            if first in imported and (rest or first != "cupy"):
                yield ".".join([imported[first], *rest]), called.get(id(node))


USED = {
    f"{path.name}: {name}{'' if call is None else '()'}": (name, call)
    for path in FILES
    for name, call in uses(ast.parse(path.read_text("utf-8")))
}


def described(function, library="cublas"):
    """What a compiled function says of its own arguments, in the first line of its description."""
    (line,) = re.findall(rb"\n?\b" + function.encode() + rb"\(([^)]*)\)", binding(library))[:1]
    return [part.split()[-1] for part in line.decode().split(", ")]


def binding(name):
    import cupy_backends.cuda.libs

    (path,) = Path(cupy_backends.cuda.libs.__file__).parent.glob(f"{name}.*.so")
    return path.read_bytes()


def test_names_are_found():
    assert {name for name, _ in USED.values()} >= {"cupy.empty", "cupy.cuda.driver.launchKernel", "cupy.RawModule"}
    assert all(importlib.util.find_spec(name) for name in ("cupy", "cupy_backends"))


@pytest.mark.parametrize("use", USED)
def test_is_of_cupy(use):
    import cupy

    name, call = USED[use]
    if name.startswith("cupy.cuda.cublas"):
        if name != "cupy.cuda.cublas":
            assert described(name.rpartition(".")[2])
        return
    if name.startswith("cupy.cuda.nccl"):  # cannot be imported without its library
        module = Path(cupy.cuda.__file__).with_name("nccl.py")
        assert name.rpartition(".")[2].encode() in module.read_bytes() + binding("nccl")
        return
    found = cupy
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    if call is None or any(isinstance(each, ast.Starred) for each in call.args):
        return
    try:
        signature = inspect.signature(found)
    except ValueError:  # compiled: it does not say
        return
    signature.bind(*call.args, **{each.arg: each.value for each in call.keywords})


@pytest.mark.parametrize("method", ["send", "recv", "allGather", "check_async_error", "abort"])
def test_the_stand_in_for_nccl_has_its_arguments(method):
    mine = list(inspect.signature(getattr(nccl.NcclCommunicator, method)).parameters)
    assert mine == described(f"NcclCommunicator.{method}", "nccl")


def test_nccl_is_called_by_what_the_stand_in_has():
    """So its arguments are those of the real package, too."""
    called = set(re.findall(r"self\._nccl\.(\w+)\(", FILES[-1].read_text("utf-8")))
    assert called == {"send", "recv", "allGather", "check_async_error", "abort"}


@pytest.mark.parametrize("function", ["gemmEx", "gemmStridedBatchedEx"])
def test_the_stand_in_for_cublas_has_its_arguments(function):
    def plain(names):
        return [name.lower().replace("_", "") for name in names]

    mine = plain(inspect.signature(getattr(cublas, function)).parameters)
    theirs = plain(described(function))
    assert len(mine) == len(theirs)
    renamed = {"stridea": "astride", "strideb": "bstride", "stridec": "cstride"}
    renamed |= {"batchcount": "count", "computetype": "compute", "algo": "algorithm"}
    assert mine == [renamed.get(name, name) for name in theirs]
