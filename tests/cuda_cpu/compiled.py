"""Kernels compiled by g++ under ``cuda_on_cpu.hpp``, one a library, kept in ``build/cuda_on_cpu``."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
HEADER = Path(__file__).parent / "cuda_on_cpu.hpp"
BUILD = Path(os.environ.get("SEGATTN_CUDA_CPU_BUILD", ROOT / "build" / "cuda_on_cpu"))
_FLAGS = (
    "-std=c++17", "-O1", "-fPIC", "-w", "-ffp-contract=off", "-fvisibility=hidden", "-fno-gnu-unique",
    "-fsanitize=alignment,bounds",
)  # fmt: skip


class KernelError(Exception):
    """What a kernel, or whoever launched it, did wrong."""


class Order(NamedTuple):
    """How the threads of a block take turns; see the header."""

    backwards: bool
    warps: bool
    late_copies: bool


ORDERS = (
    Order(backwards=False, warps=False, late_copies=True),
    Order(backwards=True, warps=False, late_copies=False),
    Order(backwards=False, warps=True, late_copies=False),
    Order(backwards=True, warps=True, late_copies=True),
)


class CompiledKernel:
    """One instantiation, such as ``softmax_rows<float, 32, 4>`` of ``source``."""

    def __init__(self, source: str, name: str) -> None:
        self.source, self.name = source, name
        self._library = ctypes.CDLL(str(_library(f'#line 1 "kernels.cu"\n{source}\nON_CPU_EXPORT({name})\n')))
        self._library.run.restype = ctypes.c_char_p
        text = ctypes.create_string_buffer(4096)
        self._library.signature(text)
        #: The types of its parameters as NumPy names them, a star before those that are pointers.
        self.parameters = text.value.decode().split()

    def run(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: int, order: Order) -> None:
        """Run the grid; ``arguments`` is the address of a table of addresses of the arguments, as CUDA wants it."""
        grid, block = (*grid, 1, 1)[:3], (*block, 1, 1)[:3]
        if min(*grid, *block) < 1 or max(grid[1:]) > 65535 or block[0] * block[1] * block[2] > 1024:
            raise KernelError(f"{self.name}: no GPU starts a grid of {grid} blocks of {block} threads.")
        three = ctypes.c_uint * 3
        how = map(ctypes.c_bool, order)
        failure = self._library.run(three(*grid), three(*block), ctypes.c_void_p(arguments), *how)
        if failure:
            raise KernelError(f"{self.name}: {re.sub('line ([0-9]+)', self._quoted, failure.decode())}")

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], *arguments: np.ndarray | int,
        order: Order | None = None,
    ) -> None:  # fmt: skip
        """Run the grid on NumPy's arrays, in one order or in each of them."""
        numbers = [each.ctypes.data if isinstance(each, np.ndarray) else each for each in arguments]
        slots = np.array(numbers, np.int64)
        addresses = slots.ctypes.data + 8 * np.arange(len(slots), dtype=np.int64)
        for each in ORDERS if order is None else (order,):
            self.run(grid, block, addresses.ctypes.data, each)

    def _quoted(self, line: re.Match[str]) -> str:
        return f"`{self.source.splitlines()[int(line[1]) - 1].strip()}`"


def _library(text: str) -> Path:
    header = _precompiled_header()
    library = BUILD / f"{_hash(header.parent.name, text)}.so"
    if not library.exists():
        _compile(library, "-shared", "-x", "c++", "-include", str(header), "-", text=text)
    return library


@cache
def _precompiled_header() -> Path:
    """A copy of the header in a folder of its own, with its compiled form beside it, where g++ looks first."""
    header = BUILD / _hash(*_FLAGS, HEADER.read_text("utf-8")) / HEADER.name
    compiled = header.with_name(f"{header.name}.gch")
    if not compiled.exists():
        header.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HEADER, header)
        _compile(compiled, "-x", "c++-header", str(header))
    return header


def _compile(to: Path, *options: str, text: str = "") -> None:
    """By way of a file of this process's own: others may want the same."""
    made = to.with_name(f"{os.getpid()}-{to.name}")
    headers = [f"-isystem{folder}" for folder in cuda_headers()]
    command = ["g++", *_FLAGS, *headers, "-o", str(made), *options]
    plain = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8", env=plain)
    if done.returncode:
        raise KernelError(f"g++ refuses it:\n{done.stderr}")
    made.replace(to)


def cuda_headers() -> list[Path]:
    """The folders of those of the package nvidia-cuda-runtime, and of one that they want and CuPy has."""
    packages = Path(sysconfig.get_path("purelib"))
    cccl = packages / "cupy" / "_core" / "include" / "cupy" / "_cccl" / "libcudacxx"
    return [packages / "nvidia" / "cu13" / "include", cccl]


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:24]
