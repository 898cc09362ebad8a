"""Numba's side of the machine: the object code of one function. Imported only when the cache has none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext

from pto.core.errors import CompilerBug
from pto.sim import engine
from pto.sim.kernels import convert, cube, elementwise, gather, loans, move, stream, vector, view
from pto.sim.kernels.registry import Compiled, function
from pto.sim.vec import OPTIONS
from pto.sim.watch import engine as watched

# Imported for what they register.
SOURCES = (engine, watched, convert, cube, elementwise, gather, loans, move, stream, vector, view)
I64 = ir.IntType(64)
# What LLVM may call and every process has.
RUNTIME = {"memcpy", "memmove", "memset", "fma", "fmaf", "floor", "floorf", "rint", "rintf"}


@contextmanager
def only_ir() -> Iterator[None]:
    """Let Numba make no machine code of a function or its helpers, and optimise none on its own.

    All are optimised together in the module that has the entry, and only that one is made machine code of.
    """
    def keep_layout(library: Any, module: Any) -> None:
        module.data_layout = library._codegen._data_layout

    def nothing(*_: Any) -> Any:
        return [].append  # Numba knows a function by a built-in one of its own, for Python to call; nobody does
    changed = (
        (JITCodeLibrary, "_optimize_functions", keep_layout), (JITCodeLibrary, "_optimize_final_module", nothing),
        (JITCodeLibrary, "_finalize_specific", nothing), (CPUContext, "get_executable", nothing),
    )
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in changed]
    try:
        for owner, name, method in changed:
            setattr(owner, name, method)
        yield
    finally:
        for owner, name, method in kept:
            setattr(owner, name, method)


def entry_module(function: Compiled, entry: str) -> str:
    """Optimised LLVM IR of a function, with a C entry point of that name."""
    signature = types.void(*[types.int64] * 3)
    with only_ir():
        compiled = njit(signature, **OPTIONS)(function)
    result: Any = next(iter(compiled.overloads.values()))
    library = result.library.codegen.create_library(entry)
    module = library.create_ir_module(entry)
    wrapper = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 3), entry)
    builder = ir.IRBuilder(wrapper.append_basic_block())
    described, target = result.fndesc, result.target_context
    callee = target.declare_function(module, described)
    target.call_conv.call_function(builder, callee, described.restype, described.argtypes, list(wrapper.args))
    builder.ret_void()
    library.add_ir_module(module)
    library.add_linking_library(result.library)
    library.finalize()
    return str(library.get_llvm_str())


def hide_all_but(module: llvm.ModuleRef, entry: str, machine: llvm.TargetMachine) -> None:
    """Make all but the entry private, drop what it does not use, and refuse what is left undefined."""
    for i, value in enumerate((*module.functions, *module.global_variables)):
        if value.name != entry and not value.is_declaration:
            value.linkage = "internal"
            value.name = f"{entry}.{i}"  # Numba's names count compilations: equal code would have unequal bytes
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    builder: Any = llvm.create_pass_builder(machine, tuning)
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, builder)
    unknown = {
        value.name for value in (*module.functions, *module.global_variables)
        if value.is_declaration and not value.name.startswith("llvm.") and value.name not in RUNTIME
    }
    if unknown:
        raise CompilerBug(f"{entry} needs {', '.join(sorted(unknown))} at run time")


def object_code(name: str, entry: str, machine: llvm.TargetMachine) -> bytes:
    """Relocatable object code of the function that is registered under a name."""
    with global_compiler_lock:
        module = llvm.parse_assembly(entry_module(function(name), entry))
        hide_all_but(module, entry, machine)
        return bytes(machine.emit_object(module))
