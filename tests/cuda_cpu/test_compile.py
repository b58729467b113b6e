"""The backend's own tests pass on the stand-in; every kernel that they ask for compiles to machine code, fits, and
takes what the record says.

Not run on a GPU: NVRTC needs no driver. ``launches.py`` runs those tests and finds the kernels, ``resources.py``
measures them. It is all in one file, because ``--dist loadfile`` keeps a file in one process, which runs them once.
"""

from __future__ import annotations

import ast
import re

import pytest

from .extra import needs_extra
from .launches import ROOT, WORKERS, Launches, find_launches, run_on_stand_in
from .resources import (
    ARCHITECTURES,
    BLOCK_SHARED,
    COMPILER,
    CompileError,
    Resources,
    architectures,
    as_text,
    measure,
    options_of,
    read_record,
    violations,
)

pytestmark = pytest.mark.cuda_cpu

BACKEND = ROOT / "backends" / "cupy"
FILES = sorted(path.name for path in (BACKEND / "kernels").glob("*.cu"))
#: In which types a kernel is wanted: of maps; of what stays float32 beside 16 bits; of 16 bits, and what goes with
#: them; and of all types, since it is no template.
_HALVES = {"__half", "__nv_bfloat16"}
FAMILIES = ({"float", "double"} | _HALVES, {"float", "double"}, {"float"} | _HALVES, _HALVES, {"float"}, set())
REWRITE = "`python -m tests.cuda_cpu.resources` writes it anew"

#: Kernels that break a rule each, to see that the rules hold.
BROKEN = """
template <class T, int BLOCK> __global__ void __launch_bounds__(BLOCK) backwards(T* x) {
    T v[96];
#pragma unroll
    for (int i = 0; i < 96; ++i) v[i] = x[i * BLOCK + threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 96; ++i) x[(95 - i) * BLOCK + threadIdx.x] = v[i] * v[(i * 7 + 3) % 96];
}
template <class T> __global__ void indexed(T* x, const int* order) {
    T v[64];
    for (int i = 0; i < 64; ++i) v[order[i]] = x[i];
    for (int i = 0; i < 64; ++i) x[i] = v[order[i]];
}
template <class T, int COUNT> __global__ void shared(T* x) {
    __shared__ T v[COUNT];
    v[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = v[COUNT - 1 - threadIdx.x];
}
"""


@pytest.fixture(scope="module", autouse=True)
def nvrtc():
    reason = "NVRTC is not installed: pip install 'segattn[test-cuda]'"
    module = pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason=reason)
    try:
        module.getVersion()
    except Exception as error:  # CuPy is there and the library is not
        pytest.skip(f"{reason} ({error})")
    return module


@pytest.fixture(scope="module")
def launches() -> Launches:
    return find_launches()


@needs_extra
@pytest.mark.parametrize("worker", range(WORKERS))
def test_the_backend_agrees_with_the_reference(worker):
    run = run_on_stand_in()[worker]
    assert run.code == 0, run.output


def test_every_launch_is_reached(launches):
    """No wrapper can ask for a kernel behind the back of the cases: each of its launches has run."""
    written = {(file, call.lineno) for file, tree in wrappers().items() for call in launches_in(tree)}
    assert written
    assert launches.places == written


def test_every_choice_is_reached(launches):
    """Where a wrapper chooses a kernel or a type by its name, each of the names has been asked for."""
    chosen = {text for tree in wrappers().values() for text in choices_in(tree)}
    assert {"uint4", "interpolate_backward"} <= chosen
    asked = " ".join(kernel for kernels in launches.threads.values() for kernel in kernels)
    assert {text for text in chosen if text not in asked} == set()


def wrappers():
    return {path.name: ast.parse(path.read_text("utf-8")) for path in BACKEND.glob("*.py")}


def launches_in(tree):
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "launch"]


def choices_in(tree):
    """The texts that get into a kernel's name by way of a variable."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        names = set()
        for _, kernel, *_ in (call.args for call in launches_in(function)):
            inserted = [part.value for part in ast.walk(kernel) if isinstance(part, ast.FormattedValue)]
            names |= {part.id for part in (kernel, *inserted) if isinstance(part, ast.Name)}
        for node in (node for node in ast.walk(function) if isinstance(node, ast.Assign)):
            assigned = {each.id for each in ast.walk(node.targets[0]) if isinstance(each, ast.Name)}
            constants = (each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant))
            yield from (value for value in constants if isinstance(value, str) and assigned & names)


@pytest.mark.parametrize("file", FILES)
def test_every_kernel_is_asked_for_in_every_dtype(launches, file):
    text = (BACKEND / "kernels" / file).read_text("utf-8")
    written = re.findall(r"__global__\s+void\s+(?:__launch_bounds__\([^\n]*\)\s+)?(\w+)\(", text)
    assert len(written) == text.count("__global__")
    asked = {name: set() for name in written}
    for kernel in launches.threads[file]:
        name, *types = re.split("[<,>]", kernel)
        asked[name] |= {*types[:1]} - {"uint4"}
    assert {name: types for name, types in asked.items() if types not in FAMILIES} == {}
    assert launches.sources[file].endswith(re.split(r'#include "\w+\.cuh"\n', text)[-1])


def test_the_record_lists_what_is_asked_for(launches):
    record = read_record()
    listed = {
        file: {kernel: row["threads"] for kernel, row in kernels.items()}
        for file, kernels in record["kernels"].items()
    }
    assert listed == launches.threads, REWRITE
    assert record["options"] == launches.options, REWRITE
    assert as_text(record) == (ROOT / "benchmarks" / "records" / "cuda-resources.json").read_text("utf-8"), REWRITE


@pytest.mark.parametrize(("file", "architecture"), [(file, each) for file in FILES for each in architectures(file)])
def test_compiles_to_what_the_record_says(launches, file, architecture):
    record = read_record()
    measured = measure(launches.sources[file], list(launches.threads[file]), architecture, launches.options)
    recorded = {kernel: Resources(**row[architecture]) for kernel, row in record["kernels"][file].items()}
    assert measured == recorded, f"The record was made with {record['compiler']}; {REWRITE}"
    assert {kernel: violations(launches.threads[file][kernel], taken) for kernel, taken in measured.items()} == {
        kernel: [] for kernel in measured
    }


@pytest.mark.parametrize(
    ("kernel", "threads", "rule"),
    [
        ("backwards<float, 1024>", 1024, "spills"),
        ("backwards<float, 256>", 1024, "registers a block"),
        ("indexed<double>", 32, "of a thread in memory"),
    ],
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_does_not_fit_is_seen(architecture, kernel, threads, rule):
    (taken,) = measure(BROKEN, [kernel], architecture, ["-std=c++17"]).values()
    assert rule in " ".join(violations(threads, taken))


def test_what_fits_is_not_blamed():
    full = f"shared<float, {BLOCK_SHARED // 4}>"
    taken = measure(BROKEN, ["backwards<float, 256>", full], "sm_80", ["-std=c++17"])
    assert violations(256, taken["backwards<float, 256>"]) == []
    assert taken[full].shared == BLOCK_SHARED
    assert violations(1024, taken[full]) == []
    assert violations(1025, taken[full]) == ["1025 threads a block, of 1024"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("template <class T> __global__ void k(T* x) { *x = nothing; }", 'identifier "nothing" is undefined'),
        ("template <class T> __global__ void k(T* x) { int y; *x = y; }", "used before its value is set"),
        ("template <class T> __global__ void j(T* x) { *x = 1; }", 'identifier "k" is undefined'),
    ],
)
def test_what_does_not_compile_is_seen(source, message):
    with pytest.raises(CompileError, match=message):
        measure(source, ["k<float>"], "sm_80", ["-std=c++17"])


def test_too_much_shared_memory_does_not_compile():
    with pytest.raises(CompileError, match="too much shared data"):
        measure(BROKEN, [f"shared<float, {BLOCK_SHARED // 4 + 1}>"], "sm_80", ["-std=c++17"])


def test_options_are_those_of_cupy(monkeypatch):
    """What CuPy would pass to NVRTC, stopped just before it does."""
    from cupy.cuda import compiler

    passed = []

    def compile_nothing(program, options, log_stream):
        passed.append(options)
        raise InterruptedError

    monkeypatch.setattr(compiler._NVRTCProgram, "compile", compile_nothing)
    monkeypatch.setattr(compiler, "_preprocess", lambda *_: "")  # identifies the compiler, by compiling
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", lambda arch: (f"-arch={arch}", "cubin"))
    with pytest.raises(InterruptedError):
        compiler._compile_module_with_cache("", ("-std=c++17",), arch="sm_80", name_expressions=("k",))
    assert passed == [tuple(options_of("sm_80", ["-std=c++17"]))]


def test_the_record_names_the_compiler_of_the_extra():
    assert f"{COMPILER}=={read_record()['compiler'].split()[1]}" in (ROOT / "pyproject.toml").read_text("utf-8")
