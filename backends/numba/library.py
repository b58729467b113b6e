"""How LLVM compiles a loop: once, with all that it calls, and so that no other loop can replace a part of it.

Numba makes a library of each function, which has copies of all functions that it calls, and is optimised and
translated into machine code by itself, so that a function which several others call is compiled as often. A process
runs the copy that it loaded first. So the process that compiles a loop would run another one, with other roundings,
than a process that loads what the first one stored.

A :class:`WholeLibrary` is optimised and translated when the address of one of its functions is needed, which is the
case for functions that Python calls, and its copies of other functions are its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from llvmlite.binding import Linkage, parse_assembly
from numba.core import cgutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

#: How the name of a variable with the constants of a function begins.
_ENVIRONMENT = "_ZN08NumbaEnv"


@contextmanager
def whole_libraries() -> Iterator[None]:
    """Compile and load instances of :class:`WholeLibrary`, in one thread at a time."""
    with global_compiler_lock:
        codegen = cpu_target.target_context.codegen()
        before = codegen._library_class
        codegen._library_class = WholeLibrary
        try:
            yield
        finally:
            codegen._library_class = before


class WholeLibrary(JITCodeLibrary):
    """A library that is optimised and translated when the address of one of its functions is needed."""

    _translated = False

    def finalize(self) -> None:
        """Add the functions that those of this library call."""
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """The address of a function that Python calls; 0 for one that only compiled functions call."""
        self._ensure_finalized()
        if not self._translated:
            if name not in {each.name for each in self.get_defined_functions()}:
                self._define_environments()
                return 0
            self._translate()
        return super().get_pointer_to_function(name)

    def serialize_using_object_code(self) -> tuple[str, str, tuple[bytes, list[str]]]:
        """What is stored: machine code, and the names of what it defines."""
        symbols = [*self._final_module.functions, *self._final_module.global_variables]
        return self.name, "object", (self._get_compiled_object(), [each.name for each in symbols])

    @classmethod
    def _unserialize(cls, codegen: Any, state: tuple[str, str, tuple[bytes, list[str]]]) -> WholeLibrary:
        name, _, (machine_code, symbols) = state
        self = codegen.create_library(name)
        self._translated = True
        self.enable_object_caching()
        self._set_compiled_object(machine_code)
        self._finalize_final_module()
        codegen._engine._defined_symbols.update(symbols)
        return self

    def _translate(self) -> None:
        self._translated = True
        for function in self.get_defined_functions():
            if function.linkage != Linkage.external:
                function.linkage = Linkage.internal
        self._optimize_final_module()
        self._final_module.verify()
        self._finalize_final_module()

    def _define_environments(self) -> None:
        """Define the variables to which Numba assigns the constants of this library's functions."""
        module = self._codegen._create_empty_module(f"{self.name}.environments")
        for variable in self._final_module.global_variables:
            if variable.name.startswith(_ENVIRONMENT):
                environment = ir.GlobalVariable(module, cgutils.voidptr_t, variable.name)
                environment.linkage = "common"
                environment.initializer = ir.Constant(cgutils.voidptr_t, None)
        self._codegen._engine.add_module(parse_assembly(str(module)))
