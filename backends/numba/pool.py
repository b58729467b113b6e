"""The threads under compiled loops: parts are handed out one by one, and nobody waits for a sleeping thread.

Numba's own layers give each thread an equal part of a loop, which ends when every thread has said so. If another
program holds one of the cores, all threads wait for the one that it keeps from running. Those of libgomp spin
meanwhile, for milliseconds, which uses up their claim to the cores.

Here a thread takes the next part of the loop when it has finished one, and the loop ends when no part is left and
no thread is inside: a thread that wakes up too late finds the loop closed. A thread without work looks for some for
a few dozen microseconds, so that loops which follow each other closely start at once, and then sleeps.

The threads share a page of numbers, which compiled code finds under the name ``segattn_pool``. Each number is read
and written in one step, and all threads see these steps in the same order (sequential consistency).
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from functools import partial
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function, intp_t, voidptr_t
from numba.extending import register_jitable
from numba.np.ufunc import parallel

from backends.numba.intrinsic import intrinsic
from backends.numba.machine_code import stored

#: How often a thread looks for work, or for the end of a loop, before it sleeps.
_SPINS = 4000
#: Parts of a loop for each thread.
PARTS = 8

_LINE = 128  # bytes that processors load together; numbers that several threads write have lines of their own
_BUSY, _OPEN, _ROUND, _NEXT, _INSIDE, _SLEEPING, _WAITING, _JOB, _KEY, _MUTEX, _MORE, _DONE, _STOP, _END = (
    _LINE * place for place in range(14)
)
_FUNCTION, _PARTS_OF_LOOP, _STEPS, _DATA, _THREADS = (_JOB + 8 * each for each in range(5))

_page_memory = np.zeros(_END + _LINE, np.uint8)
_page_address = -(-_page_memory.ctypes.data // _LINE) * _LINE


def _of_the_system(name: str, arguments: int) -> Any:
    return types.ExternalFunction(name, types.int32(*[types.intp] * arguments))


_lock, _unlock = _of_the_system("pthread_mutex_lock", 1), _of_the_system("pthread_mutex_unlock", 1)
_wait, _wake = _of_the_system("pthread_cond_wait", 2), _of_the_system("pthread_cond_broadcast", 1)
_set_number = _of_the_system("pthread_setspecific", 2)
_get_number = types.ExternalFunction("pthread_getspecific", types.intp(types.intp))


# Instructions that Python lacks. An address is a number.


@intrinsic
def _page(typing):
    """The address of the page."""

    def emit(context, builder, signature, arguments):
        symbol = builder.module.globals.get("segattn_pool")
        if symbol is None:
            symbol = ir.GlobalVariable(builder.module, ir.IntType(8), "segattn_pool")
        return builder.ptrtoint(symbol, intp_t)

    return types.intp(), emit


@intrinsic
def _read(typing, address):
    def emit(context, builder, signature, arguments):
        return builder.load_atomic(builder.inttoptr(arguments[0], intp_t.as_pointer()), "seq_cst", 8)

    return types.intp(types.intp), emit


@intrinsic
def _write(typing, address, value):
    def emit(context, builder, signature, arguments):
        builder.store_atomic(arguments[1], builder.inttoptr(arguments[0], intp_t.as_pointer()), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), emit


@intrinsic
def _set(typing, address, value):
    """Write a number that no other thread reads."""

    def emit(context, builder, signature, arguments):
        builder.store(arguments[1], builder.inttoptr(arguments[0], intp_t.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), emit


@intrinsic
def _add(typing, address, value):
    """Add to a number, and return what it was before."""

    def emit(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], intp_t.as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), emit


@intrinsic
def _exchange(typing, address, value):
    """Write a number, and return what it was before."""

    def emit(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], intp_t.as_pointer())
        return builder.atomic_rmw("xchg", pointer, arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), emit


@intrinsic
def _pause(typing):
    """Tell the processor that this is a loop that waits."""

    def emit(context, builder, signature, arguments):
        if llvmlite.binding.get_process_triple().startswith("x86"):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def _memory(typing, size):
    """Memory for ``size`` numbers until the function returns."""

    def emit(context, builder, signature, arguments):
        return builder.ptrtoint(builder.alloca(intp_t, size=arguments[0]), intp_t)

    return types.intp(types.intp), emit


@intrinsic
def _call(typing, function, arguments, dimensions, steps, data):
    """Call a part of a loop."""

    def emit(context, builder, signature, values):
        kind = ir.FunctionType(ir.VoidType(), [voidptr_t] * 4).as_pointer()
        function, *rest = values
        builder.call(builder.inttoptr(function, kind), [builder.inttoptr(each, voidptr_t) for each in rest])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), emit


# What the threads run.


@register_jitable
def _run(next_part, function, parts, steps, data):
    """Run parts of a loop until none is left; ``next_part`` is the address of the number of the next one."""
    number, count = _memory(1), _memory(1)
    _set(count, 1)
    part = _add(next_part, 1)
    while part < parts:
        _set(number, part)
        _call(function, number, count, steps, data)
        part = _add(next_part, 1)


@register_jitable
def _run_job(page):
    _run(
        page + _NEXT, _read(page + _FUNCTION), _read(page + _PARTS_OF_LOOP), _read(page + _STEPS),
        _read(page + _DATA),
    )  # fmt: skip


@partial(stored, nogil=True)
def _help(number):
    """Work on every loop with more than ``number`` threads, until the process ends."""
    page = _page()
    _set_number(_read(page + _KEY), number)
    seen = 0
    while not _read(page + _STOP):
        spins = 0
        while _read(page + _ROUND) == seen and spins < _SPINS:
            _pause()
            spins += 1
        if _read(page + _ROUND) == seen:
            _lock(page + _MUTEX)
            _add(page + _SLEEPING, 1)
            while _read(page + _ROUND) == seen:
                _wait(page + _MORE, page + _MUTEX)
            _add(page + _SLEEPING, -1)
            _unlock(page + _MUTEX)
        seen = _read(page + _ROUND)
        _add(page + _INSIDE, 1)
        if _read(page + _OPEN) and number < _read(page + _THREADS):
            _run_job(page)
        if _add(page + _INSIDE, -1) == 1 and _read(page + _WAITING):
            _lock(page + _MUTEX)
            _wake(page + _DONE)
            _unlock(page + _MUTEX)


@stored
def _parallel_for(function, arguments, dimensions, steps, data, rank, count, threads):
    """Run a loop, as a layer of Numba does. One at a time has helpers; another, or one inside it, has none.

    The arguments are those of :mod:`backends.numba.loop`: one, the number of a part, which starts at 0.
    """
    page = _page()
    if threads == 1 or _exchange(page + _BUSY, 1):
        next_part = _memory(1)
        _set(next_part, 0)
        _run(next_part, function, _read(dimensions), steps, data)
        return
    _write(page + _FUNCTION, function)
    _write(page + _PARTS_OF_LOOP, _read(dimensions))
    _write(page + _STEPS, steps)
    _write(page + _DATA, data)
    _write(page + _THREADS, threads)
    _write(page + _NEXT, 0)
    _write(page + _OPEN, 1)
    _add(page + _ROUND, 1)
    if _read(page + _SLEEPING):
        _lock(page + _MUTEX)
        _wake(page + _MORE)
        _unlock(page + _MUTEX)
    _run_job(page)
    _write(page + _OPEN, 0)
    spins = 0
    while _read(page + _INSIDE) and spins < _SPINS:
        _pause()
        spins += 1
    if _read(page + _INSIDE):
        _lock(page + _MUTEX)
        _write(page + _WAITING, 1)
        while _read(page + _INSIDE):
            _wait(page + _DONE, page + _MUTEX)
        _write(page + _WAITING, 0)
        _unlock(page + _MUTEX)
    _write(page + _BUSY, 0)


@stored
def _thread_number():
    """The number of this thread among those of its loop."""
    return _get_number(_read(_page() + _KEY))


# How Python starts them.

_helpers: list[threading.Thread] = []
_starting = threading.Lock()


def install() -> bool:
    """Put these threads under all loops that are compiled or loaded from now on, and say whether that was possible.

    They need the threads of POSIX, and stay away where the user has chosen one of Numba's layers.
    """
    if not hasattr(os, "register_at_fork") or "NUMBA_THREADING_LAYER" in os.environ:
        return False
    parallel._launch_threads()  # names Numba's own functions, which are replaced now
    llvmlite.binding.add_symbol("segattn_pool", _page_address)
    number = types.intp
    for name, function, signature in (
        ("numba_parallel_for", _parallel_for, types.void(*[number] * 8)),
        ("get_thread_id", _thread_number, number()),
    ):
        llvmlite.binding.add_symbol(name, _address(function, signature))
    _help.compile(types.void(number))
    _prepare()
    os.register_at_fork(after_in_child=_prepare)
    atexit.register(_stop)
    return True


def start(helpers: int) -> None:
    """Have at least so many threads beside the caller."""
    if len(_helpers) >= helpers:
        return
    with _starting:
        while len(_helpers) < helpers:
            number = len(_helpers) + 1
            thread = threading.Thread(target=_help, args=(number,), daemon=True, name=f"segattn-loop-{number}")
            thread.start()
            _helpers.append(thread)


def _prepare() -> None:
    """Empty the page, at the start and in the child of a fork, which has none of the threads of its parent."""
    global _starting
    _starting = threading.Lock()
    _helpers.clear()
    ctypes.memset(_page_address, 0, _END)
    system = ctypes.CDLL(None)
    key, mutex, more, done = (ctypes.c_void_p(_page_address + place) for place in (_KEY, _MUTEX, _MORE, _DONE))
    system.pthread_key_create(key, None)
    system.pthread_mutex_init(mutex, None)
    system.pthread_cond_init(more, None)
    system.pthread_cond_init(done, None)


def _stop() -> None:
    """End the threads before the interpreter frees their code and their page. A later loop has the caller alone."""
    system, mutex = ctypes.CDLL(None), ctypes.c_void_p(_page_address + _MUTEX)
    system.pthread_mutex_lock(mutex)
    for place in (_STOP, _ROUND):
        ctypes.c_ssize_t.from_address(_page_address + place).value += 1
    system.pthread_cond_broadcast(ctypes.c_void_p(_page_address + _MORE))
    system.pthread_mutex_unlock(mutex)
    for thread in _helpers:
        thread.join(timeout=1)


def _address(function: Any, signature: Any) -> int:
    """The address at which C would call a compiled function."""
    function.compile(signature)
    compiled = function.overloads[signature.args]
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)
    return address
