"""Numba's side of the machine: the object code of one function. Imported only when the cache has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext

from pto.core.errors import CompilerBug
from pto.sim import engine
from pto.sim.kernels import (
    convert,
    cube,
    elementwise,
    exponential,
    functions,
    gather,
    loans,
    log,
    move,
    packed,
    standing,
    stream,
    vector,
    view,
)
from pto.sim.kernels.operands import Compiled
from pto.sim.kernels.registry import function
from pto.sim.vec import OPTIONS
from pto.sim.watch import engine as watched

# Imported for what they register.
SOURCES = (
    engine, watched, convert, cube, elementwise, exponential, functions, gather, loans, log, move, packed, standing,
    stream, vector, view,
)
I64 = ir.IntType(64)
# What LLVM may call and every process has.
RUNTIME = {"memcpy", "memmove", "memset", "fma", "fmaf", "floor", "floorf", "rint", "rintf"}


@dataclass(frozen=True, slots=True)
class Step:
    """A private step of Numba's that makes machine code, the parameters it is known with, and what stands in for it."""

    owner: type
    name: str
    parameters: tuple[str, ...]
    instead: Callable[..., Any]

    @property
    def is_known(self) -> bool:
        """Whether this Numba has it, in the form that the substitute was written for."""
        method = getattr(self.owner, self.name, None)
        return callable(method) and tuple(signature(method).parameters) == self.parameters


def keep_layout(library: Any, module: Any) -> None:
    """What remains of optimising a function on its own."""
    module.data_layout = library._codegen._data_layout


def nothing(*_: Any) -> Any:
    """No machine code; Numba knows a function by a built-in one of its own, for Python to call, and nobody does."""
    return [].append


OPTIMISING = (
    Step(JITCodeLibrary, "_optimize_functions", ("self", "ll_module"), keep_layout),
    Step(JITCodeLibrary, "_optimize_final_module", ("self",), nothing),
)
MAKING_CODE = (
    Step(JITCodeLibrary, "_finalize_specific", ("self",), nothing),
    Step(CPUContext, "get_executable", ("self", "library", "fndesc", "env"), nothing),
)
STEPS = (*OPTIMISING, *MAKING_CODE)


@contextmanager
def without(*steps: Step) -> Iterator[None]:
    """Let Numba leave out some of its steps.

    It need make no machine code, and no function or helper need be optimised on its own: all are in the module that
    has the entry, which LLVM makes object code of. A Numba that does not have all the steps as they are known here
    does its usual work: the same results, a slower start.
    """
    if not all(step.is_known for step in STEPS):
        yield
        return
    kept = [(step, getattr(step.owner, step.name)) for step in steps]
    try:
        for step in steps:
            setattr(step.owner, step.name, step.instead)
        yield
    finally:
        for step, method in kept:
            setattr(step.owner, step.name, method)


def entry_module(function: Compiled, entry: str) -> str:
    """Optimised LLVM IR of a function, with a C entry point of that name."""
    with without(*STEPS):
        compiled = njit(types.void(*[types.int64] * 3), **OPTIONS)(function)
        result: Any = next(iter(compiled.overloads.values()))
        library = result.library.codegen.create_library(entry)
        library.add_ir_module(entry_of(result, library.create_ir_module(entry), entry))
        library.add_linking_library(result.library)
    with without(*MAKING_CODE):
        library.finalize()
    return str(library.get_llvm_str())


def entry_of(result: Any, module: ir.Module, entry: str) -> ir.Module:
    """A module with a C function of that name that calls what has been compiled."""
    wrapper = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 3), entry)
    builder = ir.IRBuilder(wrapper.append_basic_block())
    described, target = result.fndesc, result.target_context
    callee = target.declare_function(module, described)
    target.call_conv.call_function(builder, callee, described.restype, described.argtypes, list(wrapper.args))
    builder.ret_void()
    return module


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
