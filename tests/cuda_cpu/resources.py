"""What each kernel takes of a multiprocessor, from NVRTC's own report: no driver and no GPU is needed.

``python -m tests.cuda_cpu.resources`` writes ``benchmarks/records/cuda-resources.json`` anew. Do it after a change
to a kernel, look at the difference, and commit both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

from .compiled import cuda_headers
from .launches import ROOT, Launches, find_launches

RECORD = ROOT / "benchmarks" / "records" / "cuda-resources.json"
ARCHITECTURES = ("sm_75", "sm_80", "sm_90")
_NEWER = ARCHITECTURES[1:]  # that have the instructions of attention of 16 bits
COMPILER = "nvidia-cuda-nvrtc"
#: Of all three: registers of a block and of a thread, and shared memory of a block that did not ask for more.
BLOCK_REGISTERS, THREAD_REGISTERS, BLOCK_SHARED = 65536, 255, 48 * 1024


def architectures(file: str) -> tuple[str, ...]:
    """For which a ``.cu`` file is compiled."""
    return _NEWER if file == "attention_mma.cu" else ARCHITECTURES


class Resources(NamedTuple):
    registers: int  # of a thread
    shared: int  # bytes of a block
    local: int  # bytes of a thread, in memory: what is indexed by variables, and what was spilled
    spilled: int  # bytes of a thread that registers had no room for, stores and loads


class CompileError(Exception):
    """What NVRTC says about a text that it refuses, or warns about; its lines count from that of ``common.cuh``."""


_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for '(?P<architecture>\w+)'\n"
    r".*\n"
    r".* (?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\n"
    r".*Used (?P<registers>\d+) registers(?:.*?(?P<shared>\d+) bytes smem)?"
)


def options_of(architecture: str, options: list[str]) -> list[str]:
    """What NVRTC gets for a RawModule with ``options``: CuPy adds the rest."""
    return [*options, "-ftz=true", f"-arch={architecture}", "--device-as-default-execution-space"]


def measure(source: str, kernels: list[str], architecture: str, options: list[str]) -> dict[str, Resources]:
    """Compile ``kernels``, instantiations of templates of ``source``, to machine code: what each of them takes."""
    from cupy_backends.cuda.libs import nvrtc

    program = nvrtc.createProgram(source, "kernels.cu", (), ())
    try:
        for kernel in kernels:
            nvrtc.addNameExpression(program, kernel)
        try:
            headers = [f"-I{folder}" for folder in cuda_headers()]
            nvrtc.compileProgram(program, (*options_of(architecture, options), *headers, "--ptxas-options=-v"))
        except nvrtc.NVRTCError as error:
            raise CompileError(nvrtc.getProgramLog(program)) from error
        log = nvrtc.getProgramLog(program)
        if "warning" in log:
            raise CompileError(log)
        names = {nvrtc.getLoweredName(program, kernel): kernel for kernel in kernels}
    finally:
        nvrtc.destroyProgram(program)

    found = {}
    for entry in _ENTRY.finditer(log):
        assert entry["architecture"] == architecture, log
        stack, stores, loads, registers = map(int, entry.group("stack", "stores", "loads", "registers"))
        found[names[entry["name"]]] = Resources(registers, int(entry["shared"] or 0), stack, stores + loads)
    if found.keys() != set(kernels):
        raise CompileError(f"no report about {sorted(set(kernels) - found.keys())} in:\n{log}")
    return found


def violations(threads: int, taken: Resources) -> list[str]:
    """Why a block of ``threads`` threads would not start, or would start and be slow."""
    allocated = -(-taken.registers // 8) * 8 * threads  # in units of 8 a thread
    rules = {
        f"spills {taken.spilled} bytes": taken.spilled > 0,
        f"keeps {taken.local} bytes of a thread in memory": taken.local > 0,
        f"{taken.registers} registers a thread, of {THREAD_REGISTERS}": taken.registers > THREAD_REGISTERS,
        f"{allocated} registers a block, of {BLOCK_REGISTERS}": allocated > BLOCK_REGISTERS,
        f"{taken.shared} bytes of shared memory, of {BLOCK_SHARED}": taken.shared > BLOCK_SHARED,
        f"{threads} threads a block, of 1024": threads > 1024,
    }
    return [rule for rule, broken in rules.items() if broken]


def measure_all(launches: Launches) -> dict[str, Any]:
    """The record: what it is, compiler, options, and a row for each instantiation."""
    kernels: dict[str, Any] = {}
    for file, threads in sorted(launches.threads.items()):
        source, wanted = launches.sources[file], architectures(file)
        taken = {each: measure(source, sorted(threads), each, launches.options) for each in wanted}
        kernels[file] = {
            kernel: {"threads": threads[kernel]} | {each: taken[each][kernel]._asdict() for each in wanted}
            for kernel in sorted(threads, key=_by_number)
        }
    return {
        "proof": "compiled, not run on a GPU",
        "compiler": f"{COMPILER} {version(COMPILER)}",
        "options": launches.options,
        "kernels": kernels,
    }


def read_record() -> dict[str, Any]:
    record: dict[str, Any] = json.loads(RECORD.read_text("utf-8"))
    return record


def as_text(record: Mapping[str, Any]) -> str:
    """JSON with a line for each instantiation."""
    head = "".join(f" {json.dumps(key)}: {json.dumps(record[key])},\n" for key in record if key != "kernels")
    files = []
    for file, kernels in record["kernels"].items():
        rows = ",\n".join(f"   {json.dumps(kernel)}: {json.dumps(row)}" for kernel, row in kernels.items())
        files.append(f"  {json.dumps(file)}: {{\n{rows}\n  }}")
    return f'{{\n{head} "kernels": {{\n' + ",\n".join(files) + "\n }\n}\n"


def _by_number(kernel: str) -> list[str]:
    """Sorts ``<float, 4>`` before ``<float, 12>``."""
    return [part.zfill(6) if part.isdigit() else part for part in re.split(r"(\d+)", kernel)]


if __name__ == "__main__":
    RECORD.write_text(as_text(measure_all(find_launches())), "utf-8")
