"""Words that several host threads share, as functions that Numba can compile."""

from __future__ import annotations

from llvmlite import ir

from pto.sim.vec import I64, INT, emits_int, pointer


@emits_int(INT, INT)
def add_shared(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> ir.Value:
    """Add to a word; gives what it was. All that was written before can be seen by who sees the sum."""
    return builder.atomic_rmw("add", pointer(builder, address, I64), value, "acq_rel")


@emits_int(INT)
def load_shared(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """A word, and with it all that was written before it."""
    return builder.load_atomic(pointer(builder, address, I64), "acquire", 8)
