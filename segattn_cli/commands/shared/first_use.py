"""Compile the loops of ``numba`` where this is their first use, in several processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor

from segattn_cli.checking.compilation import COMMON, Compiled, compile_loops
from segattn_cli.commands.shared.terminal import complain


def compiled_at_first_use(backend: str) -> Iterator[Compiled]:
    """Compile what networks need if ``backend`` is numba and nothing is stored yet."""
    if backend == "numba":
        from backends.numba.machine_code import is_first_use

        if is_first_use():
            yield from compiled(COMMON)


def compiled(ops: Sequence[str]) -> Iterator[Compiled]:
    """Compile the loops of ``ops``. Where that fails, a line says so: they are compiled when needed."""
    from backends.cores import usable_cores

    try:
        yield from compile_loops(ops, usable_cores())
    except (OSError, BrokenExecutor) as error:
        complain(f"Loops are compiled when they are needed, because processes cannot be used for that ({error}).")
